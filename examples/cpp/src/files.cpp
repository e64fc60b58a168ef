#include "files.hpp"

#include <algorithm>
#include <fstream>
#include <vector>

#include "error.hpp"
#include "sha256.hpp"
#include "unicode.hpp"

namespace bmc {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kPiece = 1 << 20;
constexpr std::size_t kMaxNameBytes = 255;

bool is_inside(const std::string& name) {
  const Codes codes = decode_utf8(name, "the name of a file");
  const bool is_printable = std::none_of(codes.begin(), codes.end(), [](char32_t code) {
    return is_removed(code) || (is_space(code) && code != U' ');
  });
  if (name.empty() || name.size() > kMaxNameBytes || !is_printable) return false;
  if (name.find_first_of("\\:") != std::string::npos) return false;
  const fs::path path(name);
  const bool climbs = std::find(path.begin(), path.end(), fs::path("..")) != path.end();
  return !climbs && !path.is_absolute() && !path.has_root_directory();
}

std::ifstream open_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path.string() + " cannot be read; check its permissions");
  return file;
}

}  // namespace

fs::path checked_path(const fs::path& folder, const std::string& name) {
  const std::string what = "bundle " + folder.string();
  if (!is_inside(name)) {
    throw Error(what + " names the file " + in_quotes(name) +
                ", which leaves its folder; refused");
  }
  fs::path path = folder;
  std::error_code error;
  for (const fs::path& part : fs::path(name)) {
    path /= part;
    const fs::file_status status = fs::symlink_status(path, error);
    if (status.type() == fs::file_type::not_found) {
      throw Error(what + " lacks its file " + in_quotes(name) + "; copy the bundle again");
    }
    if (fs::is_symlink(status)) {
      throw Error(what + ": " + in_quotes(name) +
                  " is a link, and links are not followed; refused");
    }
  }
  if (!fs::is_regular_file(path, error)) {
    throw Error(what + ": " + in_quotes(name) + " is not a regular file; refused");
  }
  return path;
}

std::string read_file(const fs::path& path, std::uintmax_t max_bytes) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) throw Error(path.string() + " cannot be read: " + error.message());
  if (size > max_bytes) {
    throw Error(path.string() + " has " + std::to_string(size) + " bytes; up to " +
                std::to_string(max_bytes) + " are read");
  }
  std::string content(size, '\0');
  std::ifstream file = open_file(path);
  if (!file.read(content.data(), static_cast<std::streamsize>(size)) || file.peek() != EOF) {
    throw Error(path.string() + " was changed while it was read; try again");
  }
  return content;
}

std::string sha256_of_file(const fs::path& path, std::optional<std::uintmax_t> size) {
  std::error_code error;
  const std::uintmax_t length = fs::file_size(path, error);
  if (error) throw Error(path.string() + " cannot be read: " + error.message());
  if (size && length != *size) {
    throw Error(path.string() + " was changed (" + std::to_string(length) + " bytes, recorded " +
                std::to_string(*size) + "); copy the bundle again");
  }
  std::ifstream file = open_file(path);
  std::vector<char> piece(kPiece);
  Sha256 hash;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.update({piece.data(), static_cast<std::size_t>(file.gcount())});
  }
  if (file.bad()) throw Error(path.string() + " cannot be read to its end");
  return hash.hexdigest();
}

}  // namespace bmc
