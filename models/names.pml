/*
 * Name versions (shm/PROTOCOL.md, section 4).
 *
 * One name, which stands for 1 at first and for 2 after a rename over two shards. The shard of the name prepares (the version moves on), the
 * other shard lets somebody know of the outcome, and the shard of the name hears of it last. A client reads the version, asks what the name
 * stands for, and looks the name up LOOKUPS times after that, by what it remembers where the version is still the same. What goes to other
 * machines goes through no store buffer: it may arrive before stores that were made earlier and not fenced. Stopping is any delay; the model
 * has no waits that could be lost.
 *
 * Property: a look-up that begins after anybody knows of the new meaning does not believe the old one.
 *
 * Bounds: the model must hold in each.
 * CONFIG -DLOOKUPS=2
 *
 * Mutations: the model must fail with each of them, in one of these bounds.
 * MUTATION_F10: no fence after the version
 * MUTATION_LATE_VERSION: the version moves on when the shard of the name hears of the outcome
 * MUTATION_ANSWER_PREPARED: who asks for a name that may be about to change is answered, and does not wait
 * MUTATION_ASK_FIRST: the client asks, and reads the version after that
 */
#define PARTIES 2
#define SHARD 1
#define CLIENT 0
#define WORDS 1
#define VERSION 0

byte meaning = 1;    /* what the shard of the name would answer */
bool prepared;       /* the name may be about to change */
bool known;          /* somebody knows of the new meaning */
bool asked_outcome;  /* the other shard has heard that the shard of the name is prepared */
bool outcome;        /* the message of the outcome to the shard of the name */
#include "tso.pmi"

inline ask() {
    atomic {
#ifndef MUTATION_ANSWER_PREPARED
        !prepared ->
#endif
        remembered = meaning
    }
}

proctype client() {
    byte n, version, remembered;
    bool knew;

end:
#ifdef MUTATION_ASK_FIRST
    ask();
    version = VIEW(CLIENT, VERSION);
#else
    version = VIEW(CLIENT, VERSION);
    ask();
#endif
    do
    :: atomic { n < LOOKUPS -> n++; knew = known }
       atomic { assert(!(VIEW(CLIENT, VERSION) == version && remembered == 1 && knew)); knew = false }
    :: n == LOOKUPS -> break
    od
}

inline advance() {
    STORE(SHARD, VERSION, 1);
#ifndef MUTATION_F10
    FENCED(SHARD) /* [F10] */
#endif
}

proctype shard() {
    prepared = true;
#ifndef MUTATION_LATE_VERSION
    advance();
#endif
    asked_outcome = true;
    outcome;
#ifdef MUTATION_LATE_VERSION
    advance();
#endif
    atomic { meaning = 2; prepared = false }
}

proctype coordinator() {
    asked_outcome;
    known = true;
    outcome = true
}

init {
    atomic {
        run client();
        run shard();
        run coordinator();
        run drain(CLIENT);
        run drain(SHARD)
    }
}
