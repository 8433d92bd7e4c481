/* Preloaded into a peer of trainer/benches, so that oneMKL takes the same kernels in it as in ours (trainer/src/mkl.rs). */
int mkl_serv_intel_cpu_true(void) { return 1; }
