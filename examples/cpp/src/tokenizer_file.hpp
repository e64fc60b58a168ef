// tokenizer.json: what of the format of Hugging Face tokenizers this library reads.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "unicode.hpp"

namespace bmc {

struct NormalizerStep {
  enum class Kind { kBert, kLowercase, kNfc, kNfd, kRemove };
  Kind kind = Kind::kBert;
  bool cleans = false, spaces_ideographs = false;  // kBert
  bool strips_accents = false, lowers = false;     // kBert
  std::vector<Range> removed;                      // kRemove
};

struct SplitStep {
  enum class Kind { kSpaces, kPunctuation, kIsolate };
  Kind kind = Kind::kSpaces;
  std::vector<Range> isolated;  // kIsolate: each such character is a word, with marks after it
};

struct AddedToken {
  Codes content;
  std::int64_t id = 0;
  bool takes_left = false, takes_right = false;  // white space next to the token
  bool normalized = false;  // stands in normalized text
};

/// A special token of a row, or the place of one of its texts.
struct TemplatePart {
  std::vector<std::int64_t> ids;
  int text = -1;  // 0 or 1; -1 for special tokens
  int type = 0;
};

struct TokenizerSettings {
  std::vector<NormalizerStep> normalizer;
  std::vector<SplitStep> splits;
  std::vector<std::pair<std::string, std::int64_t>> vocabulary;
  std::vector<AddedToken> added;
  std::vector<TemplatePart> single, pair;
  std::int64_t unknown = 0;
  std::string prefix;  // of the tokens that continue a word
  std::size_t max_word = 100;  // characters
};

/// Returns the settings in a tokenizer.json; `what` names the file in messages.
///
/// Throws UnsupportedError where the file has a part that this library does not know (the message
/// names the part and the way out), and Error where it is damaged.
TokenizerSettings read_tokenizer(const std::string& text, const std::string& what);

}  // namespace bmc
