/* The records of rewards/wit/reward.wit as they lie in the memory of a 32-bit component (the component model's canonical form),
 * for rewards in C without a code generator. */

#ifndef RLTRAIN_REWARD_H
#define RLTRAIN_REWARD_H

typedef unsigned int u32;
typedef unsigned long long u64;

/* UTF-8, without a zero at its end. */
typedef struct {
    const char *text;
    u32 bytes;
} string;

typedef struct {
    unsigned char there;
    string value;
} optional_string;

typedef struct {
    unsigned char there;
    u64 value;
} optional_u64;

typedef struct {
    string id, prompt, signature, entry_point, language;
    optional_string reference;
} task;

typedef struct {
    string load;
    const string *tests;
    u32 tests_count;
    u32 passed, total;
    u64 fuel, peak_memory_bytes;
    string standard_output, standard_error;
} verdict;

typedef struct {
    task task;
    string prompt, completion, program;
    verdict verdict;
    optional_u64 tokens;
} attempt;

/* A score, none, or an error in words. */
typedef struct {
    unsigned char failed;
    union {
        struct {
            unsigned char there;
            double value;
        } score;
        string error;
    };
} answer;

/* Yours: the score of an attempt, which may not be kept. */
answer score(const attempt *attempt);

#ifdef RLTRAIN_FILES
/* The content of a file, or an error in words. */
typedef struct {
    unsigned char failed;
    string content;
} file;

/* A file that the recipe grants, by its name: see reward.wit. It may not be kept. */
__attribute__((import_module("rltrain:reward/files@1.0.0"), import_name("read"))) void
read_file(const char *name, u32 bytes, file *file);
#endif

/* What the component model calls. One call at a time: what its arguments lie in is free again afterwards. */

extern unsigned char __heap_base;
static u32 used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 old_bytes, u32 alignment, u32 bytes) {
    (void)old, (void)old_bytes; /* Arguments never grow. */
    u32 begin = ((u32)&__heap_base + used + alignment - 1) / alignment * alignment;
    u32 end = begin + bytes, pages = __builtin_wasm_memory_size(0);
    if (end > pages * 65536 && __builtin_wasm_memory_grow(0, (end - pages * 65536 + 65535) / 65536) == (u32)-1) {
        __builtin_trap();
    }
    used = end - (u32)&__heap_base;
    return (void *)begin;
}

__attribute__((export_name("rltrain:reward/reward@1.0.0#score"))) answer *exported_score(const attempt *attempt) {
    static answer answered;
    answered = score(attempt);
    return &answered;
}

__attribute__((export_name("cabi_post_rltrain:reward/reward@1.0.0#score"))) void after_score(answer *answered) {
    (void)answered;
    used = 0;
}

#endif
