/* A reward that likes programs of few lines: 1 for one line, 0 from twenty on. */

#include "reward.h"

answer score(const attempt *attempt) {
    string program = attempt->program;
    int lines = 0, blank = 1;
    for (u32 at = 0; at < program.bytes; at++) {
        char c = program.text[at];
        if (c == '\n') {
            blank = 1;
        } else if (blank && c != ' ' && c != '\t' && c != '\r') {
            blank = 0;
            lines++;
        }
    }
    answer answer = {0};
    if (lines > 0) {
        answer.score.there = 1;
        answer.score.value = lines < 20 ? 1.0 - (lines - 1) / 19.0 : 0.0;
    }
    return answer;
}
