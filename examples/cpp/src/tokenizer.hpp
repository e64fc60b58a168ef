// A text becomes token ids, the same as with the Python package tokenizers.
#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer_file.hpp"
#include "unicode.hpp"
#include "wordpiece.hpp"

namespace bmc {

/// The first or the last ids of a text, and how many there were.
class TokenSink {
 public:
  /// Keeps `room` ids, the last ones if `keeps_last`. If `stops`, a full sink needs no more ids.
  TokenSink(std::size_t room, bool keeps_last, bool stops)
      : room_(room), keeps_last_(keeps_last), stops_(stops && !keeps_last) {}

  /// Where the next ids are appended; `trim` must follow.
  std::vector<std::int64_t>& ids() { return ids_; }
  void trim();

  bool is_full() const { return stops_ && ids_.size() >= room_; }
  std::size_t count() const { return dropped_ + ids_.size(); }

  /// Returns `length` ids at most, from the end that is kept.
  std::vector<std::int64_t> take(std::size_t length) const;

 private:
  std::vector<std::int64_t> ids_;
  std::size_t room_, dropped_ = 0;
  bool keeps_last_, stops_;
};

/// A tokenizer of a tokenizer.json; several threads may use it at the same time.
class Tokenizer {
 public:
  explicit Tokenizer(const TokenizerSettings& settings);

  /// Appends the ids of a text, without special tokens, until the sink is full.
  ///
  /// The text is read in parts that end before white space, which gives the same ids and takes
  /// little memory for a long text.
  void append(CodesView text, TokenSink& sink) const;

  /// Returns the parts of a row: of one text, or of a pair.
  const std::vector<TemplatePart>& parts(bool is_pair) const { return is_pair ? pair_ : single_; }

  std::int64_t largest_id() const;

 private:
  Codes normalize(CodesView text) const;
  void append_part(CodesView text, std::vector<std::int64_t>& ids) const;
  void append_normalized(CodesView text, std::vector<std::int64_t>& ids) const;
  void append_words(CodesView text, std::vector<std::int64_t>& ids) const;

  std::vector<NormalizerStep> normalizer_;
  std::vector<SplitStep> splits_;
  std::vector<AddedToken> added_, normalized_added_;  // the longest ones first
  std::vector<TemplatePart> single_, pair_;
  WordPiece pieces_;
  bool may_cut_ = true;  // at white space, where a text is long
};

}  // namespace bmc
