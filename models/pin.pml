/*
 * Records and pins (shm/PROTOCOL.md, sections 4 and 5; R1 to R3 of section 3.3 for pins).
 *
 * One record, which shows inode 1 (with one name) at first. Two clients open inode 1 by pin and close it, one of them as often as OPENS0 says,
 * the other OPENS1. The shard removes the name, and may show inode 2 in the record after that, which stays linked. With RESTARTS the daemon
 * may die at any step, and messages to it are lost. With STOPS one of the clients may stop for ever, or die, between any two steps.
 *
 * Properties
 * - An inode is not freed while a client that lives has it open by pin.
 * - When nothing moves any more, an inode without a name is freed, unless a stopped client pins it, or has taken its pin away and not told
 *   yet.
 *
 * Bounds: the model must hold in each.
 * CONFIG -DOPENS0=1 -DOPENS1=0 -DSTOPS
 * CONFIG -DOPENS0=1 -DOPENS1=0 -DRESTARTS
 * CONFIG -DOPENS0=1 -DOPENS1=0 -DRESTARTS -DSTOPS
 * CONFIG -DOPENS0=1 -DOPENS1=1
 *
 * Mutations: the model must fail with each of them, in one of these bounds.
 * MUTATION_F9: no fence after the new incarnation
 * MUTATION_F11: the pin is no fence
 * MUTATION_F12: taking the pin away is no fence
 * MUTATION_F13: no fence after the record shows no name
 * MUTATION_P1_LATE: the client looks at the record (P2) before it pins (P1)
 * MUTATION_P3_EARLY: the client looks at the record before it takes the pin away
 * MUTATION_P3_OPEN: an open that fails takes its pin away and does not tell
 * MUTATION_N_ORDER: the shard reads the pins (N2) before it changes the record (N1)
 * MUTATION_W1: no store fence after the odd count
 * MUTATION_W3: the even count is written without release
 * MUTATION_V3: the client does not read the head again
 * MUTATION_V_INCARNATION: the client does not look at the incarnation
 * MUTATION_R3: the successor frees inodes without names and does not look at pins
 * MUTATION_NO_DEATH: pins of a client that died stay
 */
#define PARTIES 3
#define SHARD 2 /* clients are 0 and 1 */
#define WORDS 6
#define HEAD 0 /* tag * 16 + count */
#define WORD0 1 /* the inode */
#define WORD1 2 /* its link count */
#define INCARNATION 3
#define PIN(c) (4 + (c))

bool named = true;   /* inode 1 has a name: the log */
bool exists = true;  /* inode 1 was not freed: the log */
bool open[2];        /* by client: has inode 1 open by pin */
bool closing[2];     /* by client: has taken its pin away and not yet told, or seen that it need not */
bool told[2];        /* by client: its message that it has closed is on its way */
bool done[2];
bool dead[2], noticed[2]; /* the client's pidfd is readable; the daemon has looked */
bool busy;           /* the shard is in the middle of something: it takes no messages */
byte daemon;         /* the process that is the daemon */
byte stopped;        /* the process that has stopped: a client is its number + 1; 0: none */
#include "tso.pmi"

/* P2, P3: shows = the record shows inode 1 with a name. */
inline look() {
    head = VIEW(c, HEAD); /* V1 */
    inode = VIEW(c, WORD0); /* V2 */
    links = VIEW(c, WORD1);
    shows = (head / 16 == incarnation && head % 2 == 0 && inode == 1 && links > 0);
#ifndef MUTATION_V3
    shows = shows && (VIEW(c, HEAD) == head); /* V3 */
#endif
#ifndef MUTATION_V_INCARNATION
    shows = shows && (VIEW(c, INCARNATION) == incarnation);
#endif
    d_step {
        head = 0;
        inode = 0;
        links = 0
    }
}

inline p1() {
#ifdef MUTATION_F11
    STORE(c, PIN(c), 1)
#else
    d_step { FENCED(c) -> mem[PIN(c)] = 1 } /* [F11] */
#endif
}

inline p3() {
#ifdef MUTATION_F12
    atomic { STORE(c, PIN(c), 0); closing[c] = true }
#else
    d_step { FENCED(c) -> mem[PIN(c)] = 0; closing[c] = true } /* [F12] */
#endif
}

proctype client(byte c; byte opens) provided (stopped != _pid) {
    byte incarnation, head, inode, links, n;
    bool shows;

    atomic { !busy -> incarnation = mem[INCARNATION] };
    do
    :: atomic { n < opens -> n++ }
#ifdef MUTATION_P1_LATE
       look();
       p1();
#else
       p1();
       look(); /* P2 */
#endif
       if
       :: shows -> open[c] = true; open[c] = false
       :: !shows -> skip
       fi;
#ifdef MUTATION_P3_OPEN
       if
       :: !shows -> p3(); goto closed
       :: shows
       fi;
#endif
#ifdef MUTATION_P3_EARLY
       look();
       p3();
#else
       p3(); /* P3 */
       look();
#endif
       if
       :: !shows -> told[c] = true
       :: shows
       fi;
closed:
       atomic { shows = false; closing[c] = false }
    :: n == opens -> break
    od;
    done[c] = true
}

#define W(word, value) STORE(SHARD, word, value)

/* W1 to W3. */
inline record(tag, i, l) {
    count = count + 2;
    W(HEAD, tag * 16 + count - 1); /* W1 */
#ifdef MUTATION_W1
    W(WORD0, i); /* W2 */
    W(WORD1, l);
#else
    RELEASE(SHARD, WORD0, i); /* W2, behind the store fence */
    RELEASE(SHARD, WORD1, l);
#endif
#ifdef MUTATION_W3
    W(HEAD, tag * 16 + count)
#else
    RELEASE(SHARD, HEAD, tag * 16 + count) /* W3 */
#endif
}

/* With fewer stores than the buffer holds: the record still has the inode in it. */
inline n1(tag) {
    count = count + 2;
    W(HEAD, tag * 16 + count - 1); /* W1 */
#ifdef MUTATION_W1
    W(WORD1, 0); /* W2 */
#else
    RELEASE(SHARD, WORD1, 0); /* W2, behind the store fence */
#endif
#ifdef MUTATION_W3
    W(HEAD, tag * 16 + count);
#else
    RELEASE(SHARD, HEAD, tag * 16 + count); /* W3 */
#endif
#ifndef MUTATION_F13
    FENCED(SHARD) /* [F13] */
#endif
}

/* N2: pinned = somebody pins inode 1. */
inline n2() {
    pinned = (VIEW(SHARD, PIN(0)) != 0);
    pinned = pinned || (VIEW(SHARD, PIN(1)) != 0)
}

inline decide() {
    atomic {
        if
        :: !named && exists && !pinned -> exists = false; assert(!open[0] && !open[1])
        :: else
        fi;
        pinned = false;
        busy = false
    }
}

proctype shard(byte tag) provided (daemon == _pid) {
    byte count;
    bool pinned, other;

    if
    :: tag > 1 ->
        W(INCARNATION, tag); /* R1 */
#ifndef MUTATION_F9
        FENCED(SHARD); /* [F9] */
#endif
        d_step { /* R2 */
            if
            :: dead[0] -> mem[PIN(0)] = 0; noticed[0] = true
            :: else
            fi;
            if
            :: dead[1] -> mem[PIN(1)] = 0; noticed[1] = true
            :: else
            fi
        };
#ifndef MUTATION_R3
        n2(); /* R3 */
#endif
        decide()
    :: tag == 1
    fi;

end: /* R4 */
    do
    :: atomic { named -> busy = true; named = false }
#ifdef MUTATION_N_ORDER
       n2();
       n1(tag);
#else
       n1(tag);
       n2();
#endif
       decide()
    :: atomic { !named && !other -> busy = true; other = true }
       record(tag, 2, 1);
       busy = false
    :: atomic { told[0] -> told[0] = false; busy = true }
       n2();
       decide()
    :: atomic { told[1] -> told[1] = false; busy = true }
       n2();
       decide()
#ifndef MUTATION_NO_DEATH
    :: atomic { dead[0] && !noticed[0] -> noticed[0] = true; mem[PIN(0)] = 0; busy = true }
       n2();
       decide()
    :: atomic { dead[1] && !noticed[1] -> noticed[1] = true; mem[PIN(1)] = 0; busy = true }
       n2();
       decide()
#endif
    od
}

proctype fate() {
    if
#ifdef RESTARTS
    :: atomic {
           FENCED(SHARD) ->
           busy = true;
           told[0] = false;
           told[1] = false;
           daemon = run shard(2)
       }
#endif
    :: true
    fi
}

/* In the place of a client that the bounds leave out. */
proctype nobody() {
    done[1] = true
}

proctype stopper() {
    if
#ifdef STOPS
    :: stopped = 1
    :: atomic { FENCED(0) -> stopped = 1; dead[0] = true; open[0] = false }
#if OPENS1 > 0
    :: stopped = 2
    :: atomic { FENCED(1) -> stopped = 2; dead[1] = true; open[1] = false }
#endif
#endif
    :: true
    fi
}

#define PINS(c) (stopped == c + 1 && !dead[c] && (mem[PIN(c)] != 0 || closing[c]))

init {
    atomic {
        mem[HEAD] = 16;
        mem[WORD0] = 1;
        mem[WORD1] = 1;
        mem[INCARNATION] = 1;
        run client(0, OPENS0);
#if OPENS1 > 0
        run client(1, OPENS1);
#else
        run nobody();
#endif
        run drain(0);
        run drain(1);
        run drain(2);
        daemon = run shard(1);
        run fate();
        run stopper()
    }
    timeout ->
    assert((done[0] || stopped == 1) && (done[1] || stopped == 2));
    assert(named || !exists || PINS(0) || PINS(1))
}
