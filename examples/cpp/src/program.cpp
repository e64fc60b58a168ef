#include "program.hpp"

#include <filesystem>
#include <iostream>
#include <limits>

#include "check.hpp"
#include "error.hpp"
#include "files.hpp"
#include "lines.hpp"
#include "npy.hpp"
#include "options.hpp"
#include "pipeline.hpp"

namespace bmc {
namespace {

constexpr std::uintmax_t kMaxArray = std::uintmax_t{512} << 20;

void write_result(const Pipeline& pipeline, const Row& row, std::size_t number,
                  const Options& options) {
  if (options.tokens) {
    write_tokens(std::cout, pipeline.encoder().encode(row, number), options.json);
  } else {
    write_prediction(std::cout, pipeline(row, number), row, pipeline.bundle().manifest.task,
                     options.json);
  }
}

void process_arguments(const Pipeline& pipeline, const Options& options) {
  const std::size_t columns = pipeline.encoder().columns();
  for (std::size_t i = 0; i < options.texts.size(); i += columns) {
    Row row;
    for (std::size_t k = i; k < i + columns && k < options.texts.size(); ++k) {
      row.push_back(options.texts[k]);
    }
    write_result(pipeline, row, i / columns + 1, options);
  }
}

void process_lines(const Pipeline& pipeline, const Options& options) {
  const std::size_t columns = pipeline.encoder().columns();
  for (std::size_t number = 1;; ++number) {
    const auto row = next_row(std::cin, columns, options.json, number);
    if (!row) return;
    write_result(pipeline, *row, number, options);
    std::cout.flush();
  }
}

void process_arrays(const Pipeline& pipeline, const Options& options) {
  Tensors inputs;
  for (const auto& [name, path] : options.arrays) {
    inputs.emplace(name, parse_npy(read_file(path, kMaxArray), path));
  }
  for (const Prediction& prediction : pipeline.predictions(inputs)) {
    write_prediction(std::cout, prediction, {}, pipeline.bundle().manifest.task, options.json);
  }
}

int run(const Options& options, const Runtime& runtime) {
  const Pipeline pipeline(options.bundle, runtime, options.threads);
  if (options.checks) {
    const CheckResult result = check(pipeline, options.calls);
    write_check(std::cout, result, pipeline.bundle(), runtime, options.threads, options.json);
    return result.first_difference ? 1 : 0;
  }
  if (!options.arrays.empty()) {
    process_arrays(pipeline, options);
  } else if (!options.texts.empty()) {
    process_arguments(pipeline, options);
  } else {
    process_lines(pipeline, options);
  }
  return 0;
}

}  // namespace

int run_program(int count, char** words, const Runtime& runtime) {
  const std::string program = std::filesystem::path(words[0]).filename().string();
  std::ios::sync_with_stdio(false);
  int code = 2;
  std::string message;
  try {
    const Options options = parse_options(count, words);
    if (options.helps) {
      std::cout << help(program, runtime.name);
      return 0;
    }
    return run(options, runtime);
  } catch (const CheckError& error) {
    message = error.what();
    code = 1;
  } catch (const std::exception& error) {
    message = error.what();
  }
  std::cout.flush();
  std::cerr << program << ": " << message << '\n';
  return code;
}

}  // namespace bmc
