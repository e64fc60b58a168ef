#include "program.hpp"

int main(int count, char** words) {
  return bmc::run_program(count, words, bmc::openvino_runtime());
}
