// A loaded bundle: raw texts in, predictions out. An application links this.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "runtime.hpp"
#include "text_encoder.hpp"

namespace bmc {

struct Score {
  std::string label;
  double score = 0;  // probability, 0 to 1
};

/// What is predicted for a row.
struct Prediction {
  std::vector<Score> labels;  // one; of "multilabel" all predicted labels, most probable first
  std::vector<float> values;  // of "regression" the number, of "embedding" the vector
  bool rejected = false;      // the label is empty: its score is too low for the bundle
};

/// Predicts from raw texts; several threads may share a pipeline.
class Pipeline {
 public:
  /// Loads a bundle; 0 threads leave the choice to the runtime.
  ///
  /// Throws Error if the bundle is damaged or for another target.
  Pipeline(const std::filesystem::path& folder, const Runtime& runtime, int threads = 1);

  /// Predicts for a text in UTF-8, or a pair of texts; `number` counts rows in messages.
  ///
  /// Throws Error if the bundle takes no texts or failed a check when it was exported, or if the
  /// row is empty or not UTF-8.
  Prediction operator()(const Row& row, std::size_t number = 1) const;
  Prediction operator()(const std::string& text) const { return (*this)(Row{text}); }

  /// Predicts for each row of input tensors, such as pixels that the application prepared.
  ///
  /// Throws Error if a tensor is missing or does not fit the manifest, or if the task of the bundle
  /// has no predictions here.
  std::vector<Prediction> predictions(const Tensors& inputs, std::size_t first = 1) const;

  /// Computes all outputs of input tensors, by name.
  Tensors run(const Tensors& inputs) const;

  /// Returns whether raw texts can be read; otherwise `encoder` says why not.
  bool reads_texts() const { return encoder_ != nullptr; }

  /// Returns the encoder of texts.
  ///
  /// Throws UnsupportedError if the bundle takes no texts, or has an unknown tokenizer.
  const TextEncoder& encoder() const;

  const Bundle& bundle() const { return bundle_; }

 private:
  Bundle bundle_;
  std::unique_ptr<TextEncoder> encoder_;  // empty if raw texts cannot be read
  std::string unsupported_reason_;        // why not
  std::unique_ptr<Session> session_;
};

/// Turns the first output of a model into predictions of its rows; rejects none.
///
/// Throws Error if a value is NaN or infinite, or the task has no predictions here.
std::vector<Prediction> predictions_of(const Tensor& output, const Bundle& bundle,
                                       std::size_t first = 1);

}  // namespace bmc
