#include "text_encoder.hpp"

#include <algorithm>

#include "error.hpp"

namespace bmc {
namespace {

const char kFile[] = "tokenizer.json";

Tokenizer tokenizer_of(const Bundle& bundle) {
  const std::string what = "bundle " + bundle.folder.string() + ": " + kFile;
  return Tokenizer(read_tokenizer(bundle.content(kFile), what));
}

/// Returns the length of an HTML line break at a position: <br>, <br/>, <BR />; 0 for none.
std::size_t break_at(CodesView text, std::size_t start) {
  auto at = [&](std::size_t index) { return index < text.size() ? text[index] : U'\0'; };
  const bool is_tag = at(start) == U'<' && (at(start + 1) | 32) == U'b' &&
                      (at(start + 2) | 32) == U'r';
  if (!is_tag) return 0;
  std::size_t end = start + 3;
  while (is_python_space(at(end))) ++end;
  if (at(end) == U'/') ++end;
  return at(end) == U'>' ? end + 1 - start : 0;
}

Codes without_breaks(CodesView text) {
  Codes result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = break_at(text, i);
    result += length ? U' ' : text[i];
    i += std::max<std::size_t>(length, 1);
  }
  return result;
}

/// Returns the tokens of each text of a pair after the longer one was cut first.
std::pair<std::size_t, std::size_t> cut_pair(std::size_t first, std::size_t second,
                                             std::size_t room) {
  if (first + second <= room) return {first, second};
  const bool is_swapped = first > second;
  if (is_swapped) std::swap(first, second);
  second = first > room ? first : std::max(first, room - first);
  if (first + second > room) {
    first = room / 2;
    second = first + room % 2;
  }
  if (is_swapped) std::swap(first, second);
  return {first, second};
}

}  // namespace

TextEncoder::TextEncoder(const Bundle& bundle)
    : settings_(bundle.manifest.text.value()), tokenizer_(tokenizer_of(bundle)) {
  const std::string what = "bundle " + bundle.folder.string();
  prompt_ = decode_utf8(settings_.prompt, what + ": prompt");
  std::size_t special = 0;
  for (const TemplatePart& part : tokenizer_.parts(settings_.columns == 2)) {
    special += part.ids.size();
  }
  if (special >= settings_.max_length) {
    throw Error(what + ": its tokenizer adds " + std::to_string(special) +
                " special tokens to a row of " + std::to_string(settings_.max_length) +
                "; export it again with a larger --max-length");
  }
  room_ = settings_.max_length - special;
  const std::int64_t largest = std::max(tokenizer_.largest_id(), settings_.pad_id);
  if (settings_.vocabulary != 0 && largest >= settings_.vocabulary) {
    throw Error(what + ": a token has the id " + std::to_string(largest) +
                ", but the model's table has " + std::to_string(settings_.vocabulary) +
                " rows; export it again");
  }
}

Tokens TextEncoder::encode(const Row& row, std::size_t number) const {
  const std::string what = "row " + std::to_string(number);
  if (row.size() != settings_.columns) {
    throw Error(what + ": the model takes " + std::to_string(settings_.columns) +
                " text(s) a row; it has " + std::to_string(row.size()));
  }
  const bool is_pair = row.size() == 2;
  std::vector<TokenSink> sinks;
  bool is_empty = true;
  for (const std::string& bytes : row) {
    Codes text = decode_utf8(bytes, what);
    is_empty = is_empty && std::all_of(text.begin(), text.end(), is_python_space);
    if (settings_.html_breaks) text = without_breaks(text);
    TokenSink& sink = sinks.emplace_back(room_, settings_.cuts_left, !is_pair);
    tokenizer_.append(prompt_ + text, sink);
  }
  if (is_empty) throw Error(what + " is an empty text; leave it out");
  std::vector<std::size_t> lengths{room_};
  if (is_pair) {
    const auto [first, second] = cut_pair(sinks[0].count(), sinks[1].count(), room_);
    lengths = {first, second};
  }
  Tokens tokens;
  for (const TemplatePart& part : tokenizer_.parts(is_pair)) {
    const auto text = static_cast<std::size_t>(std::max(part.text, 0));
    const auto ids = part.text < 0 ? part.ids : sinks[text].take(lengths[text]);
    tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
    tokens.types.resize(tokens.ids.size(), part.type);
  }
  if (tokens.ids.empty()) throw Error(what + " has no token that the model knows");
  return tokens;
}

Tensors TextEncoder::batch(const std::vector<Tokens>& rows) const {
  std::size_t longest = 0;
  for (const Tokens& row : rows) longest = std::max(longest, row.ids.size());
  const Shape shape{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(longest)};
  Tensor ids = zeros(DType::kInt64, shape), mask = ids, types = ids;
  std::fill_n(ids.data<std::int64_t>(), ids.size(), settings_.pad_id);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t start = i * longest, length = rows[i].ids.size();
    std::copy_n(rows[i].ids.begin(), length, ids.data<std::int64_t>() + start);
    std::fill_n(mask.data<std::int64_t>() + start, length, 1);
    if (settings_.pair_types) {
      std::copy_n(rows[i].types.begin(), length, types.data<std::int64_t>() + start);
    }
  }
  Tensors tensors{{"input_ids", std::move(ids)}, {"attention_mask", std::move(mask)}};
  if (settings_.columns == 2 && settings_.type_input) {
    tensors.emplace("token_type_ids", std::move(types));
  }
  return tensors;
}

}  // namespace bmc
