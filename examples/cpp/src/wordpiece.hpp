// WordPiece: a word becomes the longest known beginning, then the longest known continuations.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "unicode.hpp"

namespace bmc {

// Source: Schuster and Nakajima 2012, "Japanese and Korean Voice Search".
class WordPiece {
 public:
  /// Takes the tokens with their ids, the prefix of tokens that continue a word ("##"), the id of a
  /// word without known pieces, and the characters of a word at most.
  WordPiece(const std::vector<std::pair<std::string, std::int64_t>>& vocabulary,
            const std::string& prefix, std::int64_t unknown, std::size_t max_word);
  WordPiece(const WordPiece&) = delete;  // its keys point into its own text
  WordPiece& operator=(const WordPiece&) = delete;

  /// Appends the ids of a word's pieces.
  void append(CodesView word, std::vector<std::int64_t>& ids) const;

  std::int64_t largest_id() const { return largest_id_; }

 private:
  using Pieces = std::unordered_map<std::string_view, std::int64_t>;

  std::string texts_;  // of all tokens, one after another; the keys below point into it
  Pieces beginnings_, continuations_;
  std::int64_t unknown_, largest_id_ = 0;
  std::size_t max_word_, longest_ = 0;  // characters; bytes of the longest token
};

}  // namespace bmc
