// Does a bundle give the same outputs on this device as where it was exported?
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pipeline.hpp"

namespace bmc {

/// The first difference from the golden rows.
struct Difference {
  using Value = std::variant<double, Shape, std::string>;  // a number, a shape, or a label

  std::string what;                  // "input", "output" or "label"
  std::string name;                  // of the tensor, or "label"
  std::size_t row = 0;               // from 0
  std::optional<std::size_t> index;  // of the value in the row; empty for shapes and labels
  Value expected, found;

  /// Returns the difference in words, with rows counted from 1.
  std::string in_words() const;
};

struct CheckResult {
  std::optional<Difference> first_difference;
  double max_error = 0;  // largest absolute change of an output
  double allowed = 0;
  std::size_t rows = 0;  // golden rows of texts that were compared; 0 where they were not read
  std::vector<double> milliseconds;      // of each timed call
  std::vector<double> run_milliseconds;  // of the model alone
  std::string timed;                     // what a call computes
};

/// Compares the tokens, outputs and labels of the golden rows, and times `calls` calls.
///
/// Throws CheckError if the bundle failed a check at its export, and Error if it is damaged.
CheckResult check(const Pipeline& pipeline, std::size_t calls);

/// Returns the median of times; 0 if there are none.
double median(std::vector<double> times);

/// Returns the most memory that this process had at a time, in MB; 0 where the system does not say.
double peak_memory_mb();

}  // namespace bmc
