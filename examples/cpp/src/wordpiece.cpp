#include "wordpiece.hpp"

#include <algorithm>

namespace bmc {
namespace {

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

WordPiece::WordPiece(const std::vector<std::pair<std::string, std::int64_t>>& vocabulary,
                     const std::string& prefix, std::int64_t unknown, std::size_t max_word)
    : unknown_(unknown), max_word_(max_word) {
  std::size_t size = 0, with_prefix = 0;
  auto has_prefix = [&](const std::string& token) {
    return token.compare(0, prefix.size(), prefix) == 0;
  };
  for (const auto& [token, id] : vocabulary) {
    size += token.size();
    with_prefix += has_prefix(token);
  }
  texts_.reserve(size);  // so that the keys stay where they are
  beginnings_.reserve(vocabulary.size());
  continuations_.reserve(with_prefix);
  for (const auto& [token, id] : vocabulary) {
    const std::string_view text(texts_.data() + texts_.size(), token.size());
    texts_ += token;
    beginnings_.emplace(text, id);
    if (has_prefix(token)) continuations_.emplace(text.substr(prefix.size()), id);
    longest_ = std::max(longest_, token.size());
    largest_id_ = std::max(largest_id_, id);
  }
}

void WordPiece::append(CodesView word, std::vector<std::int64_t>& ids) const {
  if (word.size() > max_word_) {
    ids.push_back(unknown_);
    return;
  }
  std::string bytes;
  for (const char32_t code : word) append_utf8(bytes, code);
  const std::size_t count = ids.size();
  for (std::size_t start = 0; start < bytes.size();) {
    const Pieces& pieces = start == 0 ? beginnings_ : continuations_;
    std::size_t length = std::min(bytes.size() - start, longest_);
    auto piece = pieces.end();
    for (; length > 0; --length) {
      const bool is_inside = start + length < bytes.size();
      if (is_inside && continues_character(bytes[start + length])) continue;
      piece = pieces.find(std::string_view(bytes).substr(start, length));
      if (piece != pieces.end()) break;
    }
    if (piece == pieces.end()) {  // one unknown piece makes the whole word unknown
      ids.resize(count);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(piece->second);
    start += length;
  }
}

}  // namespace bmc
