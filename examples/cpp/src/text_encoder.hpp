// Rows of texts become the tensors that a model takes (docs/bundle.md, "text").
#pragma once

#include <string>
#include <vector>

#include "bundle.hpp"
#include "tensor.hpp"
#include "tokenizer.hpp"

namespace bmc {

/// A row: a text in UTF-8, or a pair of texts.
using Row = std::vector<std::string>;

/// One encoded row: token ids, and for each the text that it comes from (0, or 1).
struct Tokens {
  std::vector<std::int64_t> ids, types;
};

/// Encodes rows; several threads may use an encoder at the same time. It cannot be copied.
class TextEncoder {
 public:
  /// Takes a bundle of the kind "text".
  ///
  /// Throws UnsupportedError if the tokenizer has a part that this library does not know, and Error
  /// if it is damaged, or has a token without a row in the model's table.
  explicit TextEncoder(const Bundle& bundle);

  /// Encodes a row, cut to the tokens that the model takes.
  ///
  /// Throws Error if the row is empty, is not UTF-8, or has another number of texts than the model
  /// takes; the message counts rows from 1 and begins with `row` and the number.
  Tokens encode(const Row& row, std::size_t number = 1) const;

  /// Returns the tensors of rows, padded to the longest: int64 (rows, longest).
  Tensors batch(const std::vector<Tokens>& rows) const;

  std::size_t columns() const { return settings_.columns; }

 private:
  TextSettings settings_;
  Codes prompt_;
  Tokenizer tokenizer_;
  std::size_t room_;  // tokens of a row without special tokens
};

}  // namespace bmc
