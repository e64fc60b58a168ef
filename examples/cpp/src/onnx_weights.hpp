// Lets ONNX Runtime map the large weights of an ONNX file, instead of holding them twice.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bmc {

/// Returns an ONNX file whose large weights are external data that lies in the given file.
///
/// While ONNX Runtime loads a plain file, each weight is in memory twice. External data is mapped:
/// only the pages that a model reads take memory.
///
/// Takes the bytes of a file and its name, to which the result refers. Returns nothing if the file
/// has no large weights, or is not one that can be read so; then load the file itself.
std::optional<std::string> without_large_weights(std::string_view model, const std::string& name);

}  // namespace bmc
