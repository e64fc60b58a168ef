// Texts from standard input, and results on standard output: lines for people, or JSON.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

#include "check.hpp"
#include "pipeline.hpp"

namespace bmc {

/// Reads the next row of a stream: a text, or two texts with a tab between them; JSON if `json`.
///
/// Returns nothing at the end of the stream. Throws Error if a line is not such JSON.
std::optional<Row> next_row(std::istream& stream, std::size_t columns, bool json,
                            std::size_t number);

/// Writes a prediction and its row; `task` is that of the manifest.
void write_prediction(std::ostream& stream, const Prediction& prediction, const Row& row,
                      const std::string& task, bool json);
void write_tokens(std::ostream& stream, const Tokens& tokens, bool json);
void write_check(std::ostream& stream, const CheckResult& result, const Bundle& bundle,
                 const Runtime& runtime, int threads, bool json);

}  // namespace bmc
