/*
 * Places, announcements, quarantine, restart (shm/PROTOCOL.md, sections 3.2 and 3.3).
 *
 * Three pages, one segment. Chunk A has a run of two pages at first, one of them present; chunk B is somebody else's and takes one page that
 * is free. Client 0 overwrites the present page of A and fills its room, client 1 reads, USES0 and USES1 times; in place where the place
 * holds, else by message. The shard moves A (MOVES times), shrinks it, gives pages up and gives one to B. With RESTARTS the daemon may die at
 * any step, and its successor goes on with this; its sequence numbers begin anew: the worst that can happen to them. With STOPS one of the
 * clients may stop for ever between any two steps.
 *
 * Properties
 * - No client reads or writes a page that B has.
 * - What was acknowledged, overwritten or filled, is in A's extent after each move.
 * - When nothing moves any more, a page in quarantine is one that a stopped client named, and every other client has finished.
 *
 * Bounds: the model must hold in each.
 * CONFIG -DUSES0=1 -DUSES1=0 -DMOVES=1 -DSTOPS
 * CONFIG -DUSES0=0 -DUSES1=1 -DMOVES=1
 * CONFIG -DUSES0=1 -DUSES1=0 -DMOVES=2 -DRESTARTS
 * CONFIG -DUSES0=1 -DUSES1=1 -DMOVES=0 -DSTOPS
 * CONFIG LONG -DUSES0=1 -DUSES1=1 -DMOVES=1
 * CONFIG LONG -DUSES0=2 -DUSES1=0 -DMOVES=2 -DRESTARTS
 * CONFIG LONG -DUSES0=1 -DUSES1=0 -DMOVES=2 -DRESTARTS -DSTOPS
 *
 * Mutations: the model must fail with each of them, in one of these bounds.
 * MUTATION_F6: the announcement is no fence
 * MUTATION_F7: no fence when an announcement is taken back after a write
 * MUTATION_F8: changing the sequence number is no fence
 * MUTATION_F9: no fence after the new incarnation
 * MUTATION_USED_LATE: `used` grows after the announcement
 * MUTATION_U1_LATE: the client looks at the slot (U2) before it announces (U1)
 * MUTATION_U2_ORDER: U2 and U5 read the incarnation before the slot
 * MUTATION_U4_READ: a reader takes its announcement back before it has read
 * MUTATION_U5: a write counts without the second look
 * MUTATION_S1_LATE: the sequence number changes after the pages were given up
 * MUTATION_S1_AFTER_COPY: the sequence number changes between copy and giving up
 * MUTATION_SHRINK: an extent is shrunk under its old sequence number
 * MUTATION_S2: pages are free without a look at the announcements
 * MUTATION_S3_ALL: pages stay in quarantine as long as there is any announcement
 * MUTATION_R1: the successor keeps the incarnation
 * MUTATION_R3: the successor ignores the announcements that it finds
 */
#define PARTIES 3
#define SHARD 2 /* clients are 0 and 1 */
#define WORDS 9
#define DATA(q) (q) /* page q */
#define SLOT 3      /* sequence number * 4 + present pages */
#define INCARNATION 4
#define USED(c) (5 + (c))
#define ANNOUNCED(c) (7 + (c)) /* 0, or first page + 1 + 8 * order */

#define WRITER 0 /* client 1 reads */

#define NOBODY 0
#define A 1
#define B 2
#define FOREIGN 9 /* what B's pages hold */

#define ON_STORE(p, w, v) \
    assert(p == SHARD || w > 2 || owner[w] != B); \
    changed = changed || (p != SHARD && w >= ANNOUNCED(0) && v == 0)

byte owner[3];         /* by page */
bool quarantine[3];    /* given up, and not yet seen to be free of announcements */
bool changed;          /* an announcement was taken back since the last look at them all */
byte at, order, pages; /* A's extent, as the log has it: first page, order, present pages */
bool busy;             /* the shard is in the middle of something, or there is none: it takes no messages */
byte daemon;           /* the process that is the daemon; 0: none */
byte stopped;          /* the process that has stopped: a client is its number + 1; 0: none */
byte acked;            /* the last overwrite that was acknowledged */
byte filled;           /* likewise of page 1 of A's extent */
bool done[2];
byte moves = MOVES, shrinks = 1, takes = 1; /* how often each may still happen */
#include "tso.pmi"

#define SEQUENCE(word) ((word) / 4)
#define PRESENT(word) ((word) % 4)
#define NAMES(a, q) ((a) != 0 && ((a) - 1) % 8 <= (q) && (q) <= ((a) - 1) % 8 + ((a) - 1) / 8)
#define FREE(q) (owner[q] == NOBODY && !quarantine[q])

/* What comes with every answer: the place. Only as a part of an atomic step of a message. */
inline tell() {
    told = SEQUENCE(mem[SLOT]);
    incarnation = mem[INCARNATION];
    first = at;
    room = order
}

/* U2, U5: holds = the place is as told. */
inline look() {
#ifdef MUTATION_U2_ORDER
    seen_incarnation = VIEW(c, INCARNATION);
    word = VIEW(c, SLOT);
    holds = (SEQUENCE(word) == told && seen_incarnation == incarnation);
#else
    word = VIEW(c, SLOT);
    holds = (SEQUENCE(word) == told && VIEW(c, INCARNATION) == incarnation);
#endif
    seen_incarnation = 0
}

inline u1() {
#ifndef MUTATION_USED_LATE
    if
    :: VIEW(c, USED(c)) == 0 -> STORE(c, USED(c), 1)
    :: VIEW(c, USED(c)) == 1
    fi;
#endif
#ifdef MUTATION_F6
    STORE(c, ANNOUNCED(c), first + 1 + 8 * room);
#else
    d_step { FENCED(c) -> mem[ANNOUNCED(c)] = first + 1 + 8 * room }; /* U1 [F6] */
#endif
#ifdef MUTATION_USED_LATE
    STORE(c, USED(c), 1)
#endif
}

inline u4() {
    if
    :: write ->
#ifdef MUTATION_F7
        STORE(c, ANNOUNCED(c), 0)
#else
        d_step { FENCED(c) -> mem[ANNOUNCED(c)] = 0; changed = true } /* U4 [F7] */
#endif
    :: !write -> RELEASE(c, ANNOUNCED(c), 0)
    fi
}

proctype client(byte c; byte uses) provided (stopped != _pid) {
    byte told, incarnation, first, room; /* the place */
    byte n, word, seen_incarnation;
    bool holds, write, fill;

    atomic {
        uses > 0 && !busy -> tell();
        write = (c == WRITER)
    };
next:
    if
    :: atomic { n == uses -> told = 0; incarnation = 0; first = 0; room = 0; word = 0; holds = false; fill = false; goto finished }
    :: atomic { n < uses -> n++; fill = false }
    :: atomic { n < uses && write && room == 1 -> n++; fill = true }
    fi;
#ifdef MUTATION_U1_LATE
    look();
    u1();
#else
    u1();
    look(); /* U2 */
#endif
    if
    :: !holds || (fill && PRESENT(word) == 2) -> RELEASE(c, ANNOUNCED(c), 0); goto message /* U4 */
    :: holds && !write ->
#ifdef MUTATION_U4_READ
        u4();
        assert(owner[first] != B); /* U3 */
#else
        assert(owner[first] != B); /* U3 */
        u4();
#endif
        goto next
    :: holds && write && !fill -> STORE(c, DATA(first), n) /* U3: below the present bytes */
    :: holds && fill && PRESENT(word) == 1 -> STORE(c, DATA(first + 1), n) /* U3: room */
    fi;
    u4();
    if
    :: fill -> /* EndWrite: the shard compares what was told */
        atomic {
            !busy ->
            if
            :: SEQUENCE(mem[SLOT]) == told && mem[INCARNATION] == incarnation ->
                assert(mem[DATA(first + 1)] == n);
                pages = 2;
                mem[SLOT] = told * 4 + 2;
                filled = n
            :: else
            fi;
            tell()
        };
        goto next
    :: !fill
    fi;
#ifndef MUTATION_U5
    look(); /* U5 */
    if
    :: !holds -> goto message
    :: holds
    fi;
#endif
    acked = n;
    goto next;

message:
    atomic {
        !busy ->
        if
        :: write && !fill -> mem[DATA(at)] = n; acked = n
        :: !write -> assert(mem[DATA(at)] >= acked)
        :: else
        fi;
        tell();
        holds = false;
        word = 0
    };
    goto next;

finished:
    done[c] = true
}

/* S1 */
inline s1() {
#ifdef MUTATION_F8
    sequence = SEQUENCE(VIEW(SHARD, SLOT)) + 1;
    STORE(SHARD, SLOT, sequence * 4 + pages);
    sequence = 0
#else
    d_step { FENCED(SHARD) -> mem[SLOT] = (SEQUENCE(mem[SLOT]) + 1) * 4 + pages } /* [F8] */
#endif
}

inline give_up(q) {
    owner[q] = NOBODY;
    quarantine[q] = true
}

#ifdef MUTATION_S3_ALL
#define still(q) quarantine[q] = quarantine[q] && (named[0] != 0 || named[1] != 0)
#else
#define still(q) quarantine[q] = quarantine[q] && (NAMES(named[0], q) || NAMES(named[1], q))
#endif

/* S2 and S3 for all pages in quarantine. */
inline scan() {
    changed = false;
#ifndef MUTATION_S2
    if
    :: VIEW(SHARD, USED(0)) != 0 -> named[0] = VIEW(SHARD, ANNOUNCED(0))
    :: VIEW(SHARD, USED(0)) == 0
    fi;
    if
    :: VIEW(SHARD, USED(1)) != 0 -> named[1] = VIEW(SHARD, ANNOUNCED(1))
    :: VIEW(SHARD, USED(1)) == 0
    fi;
#endif
    d_step {
        still(0);
        still(1);
        still(2);
        named[0] = 0;
        named[1] = 0;
        busy = false
    }
}
inline take(q) {
    takes--;
    owner[q] = B;
    mem[DATA(q)] = FOREIGN
}

#define IN_QUARANTINE (quarantine[0] || quarantine[1] || quarantine[2])

proctype shard(bool successor) provided (daemon == _pid) {
    byte to, named[2], sequence;

    if
    :: successor ->
#ifndef MUTATION_R1
        STORE(SHARD, INCARNATION, 2); /* R1 */
#ifndef MUTATION_F9
        FENCED(SHARD); /* [F9] */
#endif
#endif
        mem[SLOT] = 1 * 4 + pages;
#ifndef MUTATION_R3
        d_step {
            quarantine[0] = (owner[0] == NOBODY);
            quarantine[1] = (owner[1] == NOBODY);
            quarantine[2] = (owner[2] == NOBODY)
        };
        scan() /* R3 */
#else
        d_step { quarantine[0] = false; quarantine[1] = false; quarantine[2] = false; busy = false }
#endif
    :: !successor
    fi;

end: /* R4: it serves, and takes messages */
    do
    :: atomic {
           moves > 0 && pages == 1 && (FREE(0) || FREE(1) || FREE(2)) ->
           busy = true;
           moves--;
           to = (FREE(2) -> 2 : (FREE(1) -> 1 : 0))
       }
#if !defined(MUTATION_S1_LATE) && !defined(MUTATION_S1_AFTER_COPY)
       s1();
#endif
       mem[DATA(to)] = mem[DATA(at)];
#ifdef MUTATION_S1_AFTER_COPY
       s1();
#endif
       d_step { /* the log has it */
           give_up(at);
           if
           :: order == 1 -> give_up(at + 1)
           :: else
           fi;
           at = to;
           order = 0;
           owner[at] = A;
           assert(mem[DATA(at)] >= acked);
           to = 0
       };
       scan()
#ifdef MUTATION_S1_LATE
       ;
       s1()
#endif
    :: atomic {
           shrinks > 0 && order == 1 && pages == 1 ->
           busy = true;
           shrinks--
       }
#ifndef MUTATION_SHRINK
       s1();
#endif
       d_step {
           order = 0;
           give_up(at + 1)
       };
       scan()
    :: atomic { takes > 0 && FREE(0) -> take(0) }
    :: atomic { takes > 0 && FREE(1) -> take(1) }
    :: atomic { takes > 0 && FREE(2) -> take(2) }
    :: atomic { IN_QUARANTINE && changed -> busy = true }
       scan()
    od
}

/* The daemon may die, at any step, and another one starts. */
proctype fate() {
    if
#ifdef RESTARTS
    :: atomic { FENCED(SHARD) -> busy = true; daemon = run shard(true) }
#endif
    :: true
    fi
}

proctype stopper() {
    if
#ifdef STOPS
    :: stopped = 1
    :: stopped = 2
#endif
    :: true
    fi
}

#define UNNAMED(q) (!quarantine[q] || (stopped == 1 && NAMES(mem[ANNOUNCED(0)], q)) || (stopped == 2 && NAMES(mem[ANNOUNCED(1)], q)))

init {
    atomic {
        owner[0] = A;
        owner[1] = A;
        order = 1;
        pages = 1;
        mem[SLOT] = 1 * 4 + 1;
        mem[INCARNATION] = 1;
        run client(0, USES0);
        run client(1, USES1);
        run drain(0);
        run drain(1);
        run drain(2);
        daemon = run shard(false);
        run fate();
        run stopper()
    }
    timeout ->
    assert((done[0] || stopped == 1 || USES0 == 0) && (done[1] || stopped == 2 || USES1 == 0));
    assert(UNNAMED(0) && UNNAMED(1) && UNNAMED(2));
    assert(mem[DATA(at)] >= acked && (pages == 1 || mem[DATA(at + 1)] >= filled))
}
