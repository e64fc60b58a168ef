// A bundle that `bmc export` wrote: the folder, checked, and what its manifest says.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensor.hpp"

namespace bmc {

/// How texts become tokens, from the `preprocessing` of a manifest (docs/bundle.md, "text").
struct TextSettings {
  std::size_t max_length = 0;  // tokens of a row at most, with special tokens
  std::size_t columns = 1;     // texts of a row
  std::int64_t pad_id = 0;
  bool cuts_left = false;
  bool pair_types = true;
  bool type_input = true;
  bool html_breaks = true;
  std::int64_t vocabulary = 0;  // rows of the model's token table; 0 where unknown
  std::string prompt;
};

struct Manifest {
  std::string name, target, precision, model, task;
  std::string kind;                  // of the preprocessing
  std::optional<TextSettings> text;  // of the kind "text"
  std::vector<TensorInfo> inputs, outputs;
  std::vector<std::string> labels;
  std::vector<double> thresholds;  // a probability for each label; empty but for "multilabel"
  std::optional<double> reject_below;  // probability below which a row gets no label
  std::optional<double> scale;     // of the outputs
  std::map<std::string, double> scales;
  std::optional<std::string> failure;  // the check that failed at the export
  std::optional<std::string> digest;   // sha256 of the manifest; bundles of bmc 0.1 have none
};

struct Bundle {
  std::filesystem::path folder;
  Manifest manifest;
  std::map<std::string, std::string> files;  // sha256 of each file, by path

  /// Reads the manifest of a folder and compares every file with its recorded sha256.
  ///
  /// Throws Error if the folder is not a bundle, is too new, or was changed; the message says what
  /// to do.
  static Bundle read(const std::filesystem::path& folder);

  std::filesystem::path model_path() const;

  bool has(const std::string& name) const { return files.count(name) > 0; }

  /// Returns the content of a listed file, and checks the hash of exactly these bytes.
  std::string content(const std::string& name) const;
};

}  // namespace bmc
