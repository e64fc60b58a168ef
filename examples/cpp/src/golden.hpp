// Golden rows: a few inputs of a bundle, and the outputs that they had at the export.
#pragma once

#include <string>
#include <vector>

#include "bundle.hpp"
#include "tensor.hpp"
#include "text_encoder.hpp"

namespace bmc {

struct Golden {
  Tensors inputs, outputs;
  std::vector<Row> texts;           // raw rows; empty if they are not texts
  std::vector<std::string> labels;  // the prediction of each row; empty if the task has none
};

/// Reads golden.npz and golden.json.
///
/// Throws Error if they are damaged, or do not fit the manifest.
Golden read_golden(const Bundle& bundle);

}  // namespace bmc
