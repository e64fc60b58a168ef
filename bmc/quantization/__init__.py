"""Building blocks of quantization methods: calibration, equalization, GPTQ and Hessians."""
