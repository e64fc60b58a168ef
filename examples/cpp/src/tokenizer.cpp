#include "tokenizer.hpp"

#include <algorithm>

namespace bmc {
namespace {

constexpr std::size_t kPart = 4096;  // characters

bool is_in(const std::vector<Range>& ranges, char32_t code) {
  return std::any_of(ranges.begin(), ranges.end(), [code](const Range& range) {
    return code >= range.first && code <= range.last;
  });
}

/// Does what BertNormalizer does, in its order.
Codes bert_normalized(CodesView text, const NormalizerStep& step) {
  Codes result;
  result.reserve(text.size());
  for (const char32_t code : text) {
    if (step.cleans && is_removed(code)) continue;
    if (step.spaces_ideographs && is_ideograph(code)) {
      result += U' ';
      result += code;
      result += U' ';
    } else {
      result += step.cleans && is_space(code) ? U' ' : code;
    }
  }
  if (step.strips_accents) {
    result = to_nfd(result);
    result.erase(std::remove_if(result.begin(), result.end(), is_nonspacing), result.end());
  }
  return step.lowers ? to_lowercase(result) : result;
}

Codes normalized(CodesView text, const NormalizerStep& step) {
  using Kind = NormalizerStep::Kind;
  switch (step.kind) {
    case Kind::kBert: return bert_normalized(text, step);
    case Kind::kLowercase: return to_lowercase(text);
    case Kind::kNfc: return to_nfc(text);
    case Kind::kNfd: return to_nfd(text);
    case Kind::kRemove: break;
  }
  Codes result;
  for (const char32_t code : text) {
    if (!is_in(step.removed, code)) result += code;
  }
  return result;
}

/// Splits each word at separators: spaces are dropped, the other separators are words.
std::vector<CodesView> split(const std::vector<CodesView>& words, const SplitStep& step) {
  using Kind = SplitStep::Kind;
  std::vector<CodesView> result;
  for (const CodesView word : words) {
    std::size_t start = 0, position = 0;
    auto finish = [&](std::size_t end) {
      if (end > start) result.push_back(word.substr(start, end - start));
    };
    while (position < word.size()) {
      const char32_t code = word[position];
      const bool separates = step.kind == Kind::kSpaces        ? is_space(code)
                             : step.kind == Kind::kPunctuation ? is_punctuation(code)
                                                               : is_in(step.isolated, code);
      std::size_t end = position + 1;
      if (separates) {
        finish(position);
        while (step.kind == Kind::kIsolate && end < word.size() && is_mark(word[end])) ++end;
        if (step.kind != Kind::kSpaces) result.push_back(word.substr(position, end - position));
        start = end;
      }
      position = end;
    }
    finish(word.size());
  }
  return result;
}

const AddedToken* token_at(const std::vector<AddedToken>& tokens, CodesView text,
                           std::size_t position) {
  for (const AddedToken& token : tokens) {
    const CodesView content = token.content;
    if (text[position] == content[0] && text.substr(position, content.size()) == content) {
      return &token;
    }
  }
  return nullptr;
}

/// Appends the ids of added tokens in a text, and calls a function with each part between them.
template <typename OnPart>
void split_at(const std::vector<AddedToken>& tokens, CodesView text, std::vector<std::int64_t>& ids,
              const OnPart& on_part) {
  std::size_t start = 0, position = 0;
  auto finish = [&](std::size_t end) {
    if (end > start) on_part(text.substr(start, end - start));
  };
  while (position < text.size()) {
    const AddedToken* token = token_at(tokens, text, position);
    if (!token) {
      ++position;
      continue;
    }
    std::size_t end = position + token->content.size();
    while (token->takes_left && position > start && is_space(text[position - 1])) --position;
    while (token->takes_right && end < text.size() && is_space(text[end])) ++end;
    finish(position);
    ids.push_back(token->id);
    start = position = end;
  }
  finish(text.size());
}

}  // namespace

void TokenSink::trim() {
  if (!keeps_last_ || ids_.size() < 2 * room_ + kPart) return;
  const std::size_t extra = ids_.size() - room_;
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(extra));
  dropped_ += extra;
}

std::vector<std::int64_t> TokenSink::take(std::size_t length) const {
  const auto kept = static_cast<std::ptrdiff_t>(std::min(length, ids_.size()));
  if (keeps_last_) return {ids_.end() - kept, ids_.end()};
  return {ids_.begin(), ids_.begin() + kept};
}

Tokenizer::Tokenizer(const TokenizerSettings& settings)
    : normalizer_(settings.normalizer),
      splits_(settings.splits),
      single_(settings.single),
      pair_(settings.pair),
      pieces_(settings.vocabulary, settings.prefix, settings.unknown, settings.max_word) {
  for (AddedToken token : settings.added) {
    if (token.normalized) token.content = normalize(token.content);
    if (!token.content.empty()) (token.normalized ? normalized_added_ : added_).push_back(token);
  }
  // A text is cut at white space, unless the normalizer removes it: it would join words then.
  for (const NormalizerStep& step : normalizer_) {
    for (const Range& range : step.removed) {
      for (const char32_t code : {U' ', U'\t', U'\n', U'\r'}) {
        if (range.first <= code && code <= range.last) may_cut_ = false;
      }
    }
  }
  for (auto* tokens : {&added_, &normalized_added_}) {
    std::stable_sort(tokens->begin(), tokens->end(), [](const AddedToken& a, const AddedToken& b) {
      return a.content.size() > b.content.size();
    });
  }
}

void Tokenizer::append(CodesView text, TokenSink& sink) const {
  while (!text.empty() && !sink.is_full()) {
    const std::size_t end =
        may_cut_ ? std::min(text.find_first_of(U" \t\n\r", kPart), text.size()) : text.size();
    append_part(text.substr(0, end), sink.ids());
    sink.trim();
    text.remove_prefix(end);
  }
}

std::int64_t Tokenizer::largest_id() const {
  std::int64_t largest = pieces_.largest_id();
  for (const auto* tokens : {&added_, &normalized_added_}) {
    for (const AddedToken& token : *tokens) largest = std::max(largest, token.id);
  }
  for (const auto* parts : {&single_, &pair_}) {
    for (const TemplatePart& part : *parts) {
      for (const std::int64_t id : part.ids) largest = std::max(largest, id);
    }
  }
  return largest;
}

Codes Tokenizer::normalize(CodesView text) const {
  Codes result(text);
  for (const NormalizerStep& step : normalizer_) result = normalized(result, step);
  return result;
}

void Tokenizer::append_part(CodesView text, std::vector<std::int64_t>& ids) const {
  split_at(added_, text, ids, [&](CodesView part) { append_normalized(normalize(part), ids); });
}

void Tokenizer::append_normalized(CodesView text, std::vector<std::int64_t>& ids) const {
  split_at(normalized_added_, text, ids, [&](CodesView part) { append_words(part, ids); });
}

void Tokenizer::append_words(CodesView text, std::vector<std::int64_t>& ids) const {
  std::vector<CodesView> words{text};
  for (const SplitStep& step : splits_) words = split(words, step);
  for (const CodesView word : words) pieces_.append(word, ids);
}

}  // namespace bmc
