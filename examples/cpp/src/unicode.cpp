#include "unicode.hpp"

#include <algorithm>
#include <tuple>

#include "error.hpp"

namespace bmc {
namespace {

constexpr char32_t kHangul = 0xAC00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11A7;
constexpr char32_t kLeads = 19, kVowels = 21, kTails = 28;
constexpr char32_t kSyllables = kLeads * kVowels * kTails;

template <typename Row>
const Row* row_of(const Table<Row>& table, char32_t code) {
  const Row* row = std::upper_bound(table.begin(), table.end(), code,
                                    [](char32_t c, const Row& r) { return c < r.first; });
  if (row == table.begin()) return nullptr;
  --row;
  return code <= row->last ? row : nullptr;
}

const Decomposition* expansion_of(const Table<Decomposition>& table, char32_t code) {
  const Decomposition* row =
      std::lower_bound(table.begin(), table.end(), code,
                       [](const Decomposition& r, char32_t c) { return r.code < c; });
  return row != table.end() && row->code == code ? row : nullptr;
}

void append_parts(Codes& text, const Decomposition& row) {
  for (const char32_t part : row.parts) {
    if (part != 0) text += part;
  }
}

unsigned combining_class(char32_t code) {
  if (code < 0x300) return 0;  // the first mark
  const ClassRange* row = row_of(kCombiningClasses, code);
  return row ? row->value : 0;
}

void append_decomposed(Codes& text, char32_t code) {
  if (code < 0xC0) {  // the first character with a decomposition
    text += code;
  } else if (code >= kHangul && code < kHangul + kSyllables) {
    const char32_t syllable = code - kHangul;
    text += kLead + syllable / (kVowels * kTails);
    text += kVowel + syllable % (kVowels * kTails) / kTails;
    if (syllable % kTails != 0) text += kTail + syllable % kTails;
  } else if (const Decomposition* row = expansion_of(kDecompositions, code)) {
    append_parts(text, *row);
  } else {
    text += code;
  }
}

/// Sorts each run of marks by combining class; marks of one class keep their order.
void sort_marks(Codes& text) {
  auto is_starter = [](char32_t code) { return combining_class(code) == 0; };
  auto position = text.begin();
  while (position != text.end()) {
    const auto first = std::find_if_not(position, text.end(), is_starter);
    position = std::find_if(first, text.end(), is_starter);
    std::stable_sort(first, position, [](char32_t left, char32_t right) {
      return combining_class(left) < combining_class(right);
    });
  }
}

/// Returns the composition of two characters; 0 if they have none.
char32_t composed(char32_t first, char32_t second) {
  if (first - kLead < kLeads && second - kVowel < kVowels) {
    return kHangul + ((first - kLead) * kVowels + second - kVowel) * kTails;
  }
  const char32_t syllable = first - kHangul, tail = second - kTail;
  if (syllable < kSyllables && syllable % kTails == 0 && tail > 0 && tail < kTails) {
    return first + tail;
  }
  const Composition* row = std::lower_bound(
      kCompositions.begin(), kCompositions.end(), std::make_pair(first, second),
      [](const Composition& r, const std::pair<char32_t, char32_t>& pair) {
        return std::tie(r.first, r.second) < std::tie(pair.first, pair.second);
      });
  const bool matches = row != kCompositions.end() && row->first == first && row->second == second;
  return matches ? row->composed : 0;
}

[[noreturn]] void refuse_byte(const std::string& what, std::size_t index) {
  throw Error(what + ": byte " + std::to_string(index + 1) +
              " is not UTF-8; decode the text again, as UTF-8");
}

}  // namespace

Codes decode_utf8(std::string_view text, const std::string& what) {
  Codes codes;
  codes.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      codes += lead;
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() - i < length) refuse_byte(what, i);
    char32_t code = lead & (0x7F >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) refuse_byte(what, i);
      code = code << 6 | (next & 0x3F);
    }
    const bool is_too_long = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (is_too_long || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) refuse_byte(what, i);
    codes += code;
    i += length;
  }
  return codes;
}

void append_utf8(std::string& text, char32_t code) {
  auto append = [&text](char32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xC0 | code >> 6);
    append(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    append(0xE0 | code >> 12);
    append(0x80 | (code >> 6 & 0x3F));
    append(0x80 | (code & 0x3F));
  } else {
    append(0xF0 | code >> 18);
    append(0x80 | (code >> 12 & 0x3F));
    append(0x80 | (code >> 6 & 0x3F));
    append(0x80 | (code & 0x3F));
  }
}

bool is_space(char32_t code) { return row_of(kSpaces, code) != nullptr; }

bool is_punctuation(char32_t code) { return row_of(kPunctuation, code) != nullptr; }

bool is_removed(char32_t code) { return row_of(kRemoved, code) != nullptr; }

bool is_nonspacing(char32_t code) {
  return code >= 0x300 && row_of(kNonspacing, code) != nullptr;
}

bool is_mark(char32_t code) { return code >= 0x300 && row_of(kMarks, code) != nullptr; }

bool is_ideograph(char32_t code) {
  return code >= 0x3400 && row_of(kIdeographs, code) != nullptr;
}

bool is_python_space(char32_t code) {
  return (code >= 0x1C && code <= 0x1F) || is_space(code);
}

Codes to_nfd(CodesView text) {
  Codes result;
  result.reserve(text.size());
  for (const char32_t code : text) append_decomposed(result, code);
  sort_marks(result);
  return result;
}

// Source: Unicode Standard Annex 15, "Unicode Normalization Forms", section 1.3 (composition).
Codes to_nfc(CodesView text) {
  Codes result;
  std::size_t starter = Codes::npos;
  unsigned last_class = 0;
  for (const char32_t code : to_nfd(text)) {
    const unsigned code_class = combining_class(code);
    if (starter != Codes::npos) {
      const bool is_blocked = result.size() > starter + 1 && last_class >= code_class;
      if (const char32_t whole = is_blocked ? 0 : composed(result[starter], code)) {
        result[starter] = whole;
        continue;
      }
    }
    if (code_class == 0) starter = result.size();
    last_class = code_class;
    result += code;
  }
  return result;
}

Codes to_lowercase(CodesView text) {
  Codes result;
  result.reserve(text.size());
  for (const char32_t code : text) {
    if (code < 0x80) {
      result += code >= 'A' && code <= 'Z' ? code + 32 : code;
      continue;
    }
    if (const Decomposition* row = expansion_of(kLongLowercase, code)) {
      append_parts(result, *row);
      continue;
    }
    const CaseRun* run = row_of(kLowercase, code);
    const bool has_case = run && (code - run->first) % run->step == 0;
    result += has_case ? static_cast<char32_t>(static_cast<std::int64_t>(code) + run->add) : code;
  }
  return result;
}

}  // namespace bmc
