"""What quantization methods stand on: calibration, equalization, GPTQ and its Hessians."""
