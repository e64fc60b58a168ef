// Files of a bundle, which may come from anybody: regular files inside of one folder alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace bmc {

/// Returns the path of a file in a folder.
///
/// Throws Error if the name leaves the folder, or if the file is missing, a link, or not regular.
std::filesystem::path checked_path(const std::filesystem::path& folder, const std::string& name);

/// Returns the content of a file of `max_bytes` at most.
std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes);

/// Returns the sha256 of a file, in pieces; `size` are the bytes that the file must have.
std::string sha256_of_file(const std::filesystem::path& path, std::optional<std::uintmax_t> size);

}  // namespace bmc
