/* SPDX-License-Identifier: MIT
 *
 * signals.c: a flag set by SIGINT, SIGTERM and SIGHUP. SIGPIPE is ignored: whoever read our
 * lines may go, the picture is still to be written.
 */
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "report.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    if (interrupted) _exit(APP_INTERRUPTED);
    interrupted = 1;
}

void app_signals_catch(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool app_interrupted(void) {
    return interrupted != 0;
}
