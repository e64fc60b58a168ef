#include "tokenizer_file.hpp"

#include <functional>

#include "error.hpp"
#include "json.hpp"

namespace bmc {
namespace {

constexpr std::int64_t kMaxId = 4'000'000, kMaxWord = 1000;
constexpr std::size_t kMaxAdded = 20'000, kMaxSteps = 100, kMaxPattern = 1000;
const std::string kAnyMarks = "\\p{M}*";

[[noreturn]] void refuse(const std::string& what, const std::string& part) {
  throw UnsupportedError(what + ": this program does not know " + part +
                         "; it reads the WordPiece tokenizers of BERT and those that bmc trains. "
                         "Run the bundle in Python (bmc.load), or pass its token ids as arrays "
                         "(--npy NAME=FILE)");
}

/// Calls a function with each step of a normalizer, pre-tokenizer or post-processor.
void for_each_step(const Json& part, const char* list, const std::string& what,
                   const std::function<void(const Json&, const std::string&)>& function) {
  if (part.is_null()) return;
  const std::string type = text_of(part, "type", what);
  if (type != "Sequence") return function(part, type);
  const Json& steps = member(part, list, what);
  if (steps.size() > kMaxSteps) refuse(what, "more than 100 steps");
  for (const Json& step : steps) {
    const std::string inner = text_of(step, "type", what);
    if (inner == "Sequence") refuse(what, "a sequence within a sequence");
    function(step, inner);
  }
}

/// Returns the ranges of a class of characters such as [\u0000-\u0008a-c]; empty for another text.
std::vector<Range> class_of(CodesView pattern) {
  std::vector<Range> ranges;
  if (pattern.size() < 3 || pattern.front() != '[' || pattern.back() != ']') return {};
  pattern = pattern.substr(1, pattern.size() - 2);
  bool is_range = false;
  while (!pattern.empty()) {
    char32_t code = pattern[0];
    std::size_t length = 1;
    if (code == '\\') {
      if (pattern.size() < 6 || pattern[1] != 'u') return {};
      code = 0;
      for (const char32_t digit : pattern.substr(2, 4)) {
        const bool is_letter = digit >= 'a' && digit <= 'f';
        if (!is_letter && (digit < '0' || digit > '9')) return {};
        code = 16 * code + (is_letter ? digit - 'a' + 10 : digit - '0');
      }
      length = 6;
    } else if (code == '[' || code == ']' || code == '^' || code == '&') {
      return {};
    } else if (code == '-') {
      if (ranges.empty() || is_range) return {};
      is_range = true;
      pattern.remove_prefix(1);
      continue;
    }
    pattern.remove_prefix(length);
    if (is_range) {
      ranges.back().last = code;
    } else {
      ranges.push_back({code, code});
    }
    is_range = false;
  }
  return is_range ? std::vector<Range>{} : ranges;
}

/// Returns the regular expression of a step; empty where the step has none.
std::string pattern_of(const Json& step, const std::string& what) {
  const Json& pattern = member(step, "pattern", what);
  if (!pattern.is_object() || !pattern.contains("Regex")) return "";
  std::string text = text_of(pattern, "Regex", what);
  return text.size() <= kMaxPattern ? text : "";
}

NormalizerStep normalizer_step(const Json& json, const std::string& type,
                               const std::string& what) {
  using Kind = NormalizerStep::Kind;
  NormalizerStep step;
  if (type == "BertNormalizer") {
    step.cleans = flag_of(json, "clean_text", true, what);
    step.spaces_ideographs = flag_of(json, "handle_chinese_chars", true, what);
    step.lowers = flag_of(json, "lowercase", true, what);
    const bool is_open = !json.contains("strip_accents") || json["strip_accents"].is_null();
    step.strips_accents = is_open ? step.lowers : flag_of(json, "strip_accents", true, what);
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "Replace" && text_of(json, "content", what).empty()) {
    step.kind = Kind::kRemove;
    step.removed = class_of(decode_utf8(pattern_of(json, what), what));
    if (step.removed.empty()) refuse(what, "the pattern of a Replace");
  } else {
    refuse(what, "the normalizer " + in_quotes(type));
  }
  return step;
}

void append_splits(const Json& json, const std::string& type, const std::string& what,
                   std::vector<SplitStep>& splits) {
  using Kind = SplitStep::Kind;
  if (type == "BertPreTokenizer") {
    splits.push_back({Kind::kSpaces, {}});
    splits.push_back({Kind::kPunctuation, {}});
  } else if (type == "WhitespaceSplit") {
    splits.push_back({Kind::kSpaces, {}});
  } else if (type == "Split") {
    std::string pattern = pattern_of(json, what);
    const std::size_t mark = pattern.size() - std::min(pattern.size(), kAnyMarks.size());
    SplitStep step{Kind::kIsolate, {}};
    if (pattern.compare(mark, pattern.npos, kAnyMarks) == 0) {
      step.isolated = class_of(decode_utf8(pattern.substr(0, mark), what));
    }
    const bool is_plain = text_of(json, "behavior", what) == "Isolated" &&
                          !flag_of(json, "invert", false, what);
    if (step.isolated.empty() || !is_plain) refuse(what, "the pattern of a Split");
    splits.push_back(step);
  } else {
    refuse(what, "the pre-tokenizer " + in_quotes(type));
  }
}

void read_model(const Json& model, const std::string& what, TokenizerSettings& settings) {
  const std::string type = text_of(model, "type", what);
  if (type != "WordPiece") refuse(what, "the model " + in_quotes(type));
  settings.prefix = text_of(model, "continuing_subword_prefix", what);
  settings.max_word = static_cast<std::size_t>(
      size_of(model, "max_input_chars_per_word", what, kMaxWord));
  const std::string unknown = text_of(model, "unk_token", what);
  const Json& vocabulary = member(model, "vocab", what);
  bool has_unknown = false;
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > kMaxId) {
      throw Error(what + ": the token " + in_quotes(token) + " has no id; export the bundle again");
    }
    settings.vocabulary.emplace_back(token, id.get<std::int64_t>());
    if (token == unknown) {
      settings.unknown = id.get<std::int64_t>();
      has_unknown = true;
    }
  }
  if (!has_unknown) throw Error(what + ": its vocabulary lacks the unknown token; export it again");
}

void read_added(const Json& tokens, const std::string& what, TokenizerSettings& settings) {
  if (tokens.size() > kMaxAdded) refuse(what, "more than 20,000 added tokens");
  for (const Json& json : tokens) {
    AddedToken token;
    const std::string content = text_of(json, "content", what);
    token.content = decode_utf8(content, what);
    token.id = size_of(json, "id", what, kMaxId);
    token.takes_left = flag_of(json, "lstrip", false, what);
    token.takes_right = flag_of(json, "rstrip", false, what);
    token.normalized = flag_of(json, "normalized", false, what);
    if (flag_of(json, "single_word", false, what)) {
      refuse(what, "the added token " + in_quotes(content) + " (single_word)");
    }
    for (const char32_t code : token.content) {
      if (is_python_space(code)) refuse(what, "the added token " + in_quotes(content));
    }
    if (!token.content.empty()) settings.added.push_back(token);
  }
}

/// Returns the parts of a row of so many texts from a list of TemplateProcessing.
std::vector<TemplatePart> template_of(const Json& parts, const Json& special,
                                      int texts, const std::string& what) {
  std::vector<TemplatePart> row;
  for (const Json& part : parts) {
    TemplatePart piece;
    const bool is_text = part.contains("Sequence");
    const Json& value = member(part, is_text ? "Sequence" : "SpecialToken", what);
    const std::string id = text_of(value, "id", what);
    piece.type = static_cast<int>(size_of(value, "type_id", what, 1));
    if (is_text) {
      piece.text = id == "A" ? 0 : id == "B" ? 1 : texts;
      if (piece.text >= texts) refuse(what, "the text " + in_quotes(id) + " of its template");
    } else {
      for (const Json& number : member(member(special, id.c_str(), what), "ids", what)) {
        if (!number.is_number_unsigned()) refuse(what, "an id of " + in_quotes(id));
        piece.ids.push_back(number.get<std::int64_t>());
      }
    }
    row.push_back(piece);
  }
  return row;
}

void read_template(const Json& json, const std::string& type, const std::string& what,
                   TokenizerSettings& settings) {
  auto id_of = [&](const char* key) -> TemplatePart {
    const Json& pair = member(json, key, what);
    if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number_unsigned()) {
      throw Error(what + ": " + key + " is not a token and its id; export the bundle again");
    }
    return {{pair[1].get<std::int64_t>()}, -1, 0};
  };
  const TemplatePart first{{}, 0, 0}, second{{}, 1, 0};
  if (type == "TemplateProcessing") {
    const Json& special = member(json, "special_tokens", what);
    settings.single = template_of(member(json, "single", what), special, 1, what);
    settings.pair = template_of(member(json, "pair", what), special, 2, what);
  } else if (type == "BertProcessing") {
    const TemplatePart start = id_of("cls"), end = id_of("sep");
    settings.single = {start, first, end};
    settings.pair = {start, first, end, {{}, 1, 1}, {end.ids, -1, 1}};
  } else if (type == "RobertaProcessing") {
    const TemplatePart start = id_of("cls"), end = id_of("sep");
    settings.single = {start, first, end};
    settings.pair = {start, first, end, end, second, end};
  } else {
    refuse(what, "the post-processor " + in_quotes(type));
  }
}

}  // namespace

TokenizerSettings read_tokenizer(const std::string& text, const std::string& what) {
  const Json json = parse_json(text, what);
  auto part = [&](const char* key) { return json.contains(key) ? json[key] : Json(); };
  TokenizerSettings settings;
  read_model(member(json, "model", what), what, settings);
  for_each_step(part("normalizer"), "normalizers", what,
                [&](const Json& step, const std::string& type) {
                  settings.normalizer.push_back(normalizer_step(step, type, what));
                });
  for_each_step(part("pre_tokenizer"), "pretokenizers", what,
                [&](const Json& step, const std::string& type) {
                  append_splits(step, type, what, settings.splits);
                });
  if (settings.splits.empty() || settings.splits[0].kind != SplitStep::Kind::kSpaces) {
    refuse(what, "a tokenizer that does not split texts at white space first");
  }
  read_added(part("added_tokens"), what, settings);
  settings.single = {{{}, 0, 0}};
  settings.pair = {{{}, 0, 0}, {{}, 1, 0}};  // type 0, as of the tokenizers package in batches
  bool has_template = false;
  for_each_step(part("post_processor"), "processors", what,
                [&](const Json& step, const std::string& type) {
                  if (has_template) refuse(what, "a second post-processor");
                  has_template = true;
                  read_template(step, type, what, settings);
                });
  return settings;
}

}  // namespace bmc
