// Tables of Unicode characters, sorted; tools/unicode_tables.py writes them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bmc {

struct Range {
  char32_t first, last;
};

struct ClassRange {
  char32_t first, last;
  unsigned value;
};

struct Decomposition {
  char32_t code;
  char32_t parts[4];  // filled with zeros
};

struct Composition {
  char32_t first, second, composed;
};

/// Every `step`-th character from `first` to `last` becomes the character at a distance of `add`.
struct CaseRun {
  char32_t first, last;
  char32_t step;
  std::int32_t add;
};

template <typename Row>
struct Table {
  const Row* rows;
  std::size_t size;

  const Row* begin() const { return rows; }
  const Row* end() const { return rows + size; }
};

extern const Table<Range> kRemoved;      // by the cleaning of BERT's normalizer
extern const Table<Range> kSpaces;       // white space
extern const Table<Range> kPunctuation;  // words of their own for BERT's pre-tokenizer
extern const Table<Range> kIdeographs;   // between which BERT's normalizer puts spaces
extern const Table<Range> kNonspacing;   // category Mn, what "strip accents" removes
extern const Table<Range> kMarks;        // categories Mn, Mc and Me
extern const Table<ClassRange> kCombiningClasses;
extern const Table<Decomposition> kDecompositions;  // canonical and full, without Hangul
extern const Table<Composition> kCompositions;      // sorted by first and second
extern const Table<CaseRun> kLowercase;
extern const Table<Decomposition> kLongLowercase;  // of more than one character

}  // namespace bmc
