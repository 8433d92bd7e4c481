// Where the counters are of an interpreter that is built to be profiled: see scripts/profile_python.py.

// The compiler refers to it from every file that counts, so that LLVM's library for it would be linked.
int __llvm_profile_runtime;

// The linker defines these.
extern char __start___llvm_prf_cnts, __stop___llvm_prf_cnts;
extern char __start___llvm_prf_data, __stop___llvm_prf_data;
extern char __start___llvm_prf_names, __stop___llvm_prf_names;

// Start and end of the counters, of the records that say whose they are, and of the names of functions.
__attribute__((export_name("rltrain_counters"))) char *rltrain_counters(int number) {
    switch (number) {
        case 0: return &__start___llvm_prf_cnts;
        case 1: return &__stop___llvm_prf_cnts;
        case 2: return &__start___llvm_prf_data;
        case 3: return &__stop___llvm_prf_data;
        case 4: return &__start___llvm_prf_names;
        default: return &__stop___llvm_prf_names;
    }
}
