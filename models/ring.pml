/*
 * A call over a lane: rings, bell, sleep and wake (shm/PROTOCOL.md, section 2.2).
 *
 * One shard, two clients with one lane each, rings of two positions and two slots. The first client makes CALLS0 calls, the second CALLS1, up
 * to two in flight at a time. The shard answers those that it has taken in any order. One of the clients may stop for ever between any two
 * steps. No sleep ends by time: a wake-up that is lost stays lost. What becomes of a lane whose call timed out is in lane.pml.
 *
 * Properties
 * - When nothing moves any more, each client that is not stopped has had all its replies.
 * - No entry is overwritten before it was read; a frame is read as it was written; a reply belongs to the call that waits for it.
 *
 * Bounds: the model must hold in each.
 * CONFIG -DCALLS0=1 -DCALLS1=1
 * CONFIG -DCALLS0=3 -DCALLS1=0
 * CONFIG LONG -DCALLS0=2 -DCALLS1=1
 *
 * Mutations: the model must fail with each of them, in one of these bounds.
 * MUTATION_F1: setting the bit of the lane is no fence
 * MUTATION_F2: no fence after waits = 1
 * MUTATION_F3: taking the bits is no fence
 * MUTATION_F4: no fence after the entry of the reply
 * MUTATION_F5: no fence after asleep = 1
 * MUTATION_C2: the entry of the request is written without release
 * MUTATION_D4: the entry of the reply is written without release
 * MUTATION_NO_SECOND_LOOK: the client sleeps without C7's look
 * MUTATION_LATE_ASLEEP: the shard looks first (D7), and announces its sleep (D6) after that
 * MUTATION_CLIENT_CLEARS: a client clears `asleep` before it wakes the shard
 * MUTATION_WAKE_BEFORE_BIT: the client looks at `asleep` (C4) before it sets the bit (C3)
 * MUTATION_LATE_EMPTY: the shard empties the wake descriptor between D7's look and its sleep
 * MUTATION_EAGER_SLOT: a slot is used again before its reply was read
 * MUTATION_NO_LAP: entries carry no lap number
 */

#define PARTIES 3
#define SHARD 2 /* clients are 0 and 1 */
#define WORDS 21
#define REQUEST(c, p) ((c) * 10 + (p) % 2)
#define REPLY(c, p) ((c) * 10 + 2 + (p) % 2)
#define WAITS(c) ((c) * 10 + 4)
#define FRAME(c, s) ((c) * 10 + 5 + (s))  /* request part: number of the call */
#define ANSWER(c, s) ((c) * 10 + 7 + (s)) /* reply part: likewise */
#define BIT(c) ((c) * 10 + 9)
#define ASLEEP 20
#include "tso.pmi"

#ifdef MUTATION_NO_LAP
#define ENTRY(p, s) (2 + (s))
#define WRITTEN(e, p) (e != 0)
#else
#define ENTRY(p, s) (((p) / 2 + 1) * 2 + (s))
#define WRITTEN(e, p) ((e) / 2 == (p) / 2 + 1)
#endif

bool wake;         /* the wake descriptor: the kernel's, not memory */
bool sleeps[2];    /* a thread of the client sleeps in FUTEX_WAIT */
bool done[2];
byte stopped;      /* the process that has stopped: a client is its number + 1; 0: none */
byte taken[2];     /* requests that the shard has taken of a lane: its position of `request` */
byte got[2];       /* replies that a client has read: its position of `reply` */

inline c3() {
#ifdef MUTATION_F1
    STORE(c, BIT(c), 1)
#else
    d_step { FENCED(c) -> mem[BIT(c)] = 1 } /* C3 [F1] */
#endif
}

inline c4() {
    if
    :: VIEW(c, ASLEEP) == 1 ->
#ifdef MUTATION_CLIENT_CLEARS
        d_step { FENCED(c) -> mem[ASLEEP] = 0 };
#endif
        wake = true
    :: VIEW(c, ASLEEP) == 0
    fi
}

proctype client(byte c; byte calls) provided (stopped != _pid) {
    byte sent, slot, entry;
    byte call[2]; /* by slot: the call in it; 0: the slot is free */

again:
    if
#ifdef MUTATION_EAGER_SLOT
    :: atomic {
           sent < calls ->
           slot = sent % 2;
#else
    :: atomic {
           sent < calls && (call[0] == 0 || call[1] == 0) ->
           slot = (call[0] == 0 -> 0 : 1);
#endif
           call[slot] = sent + 1;
           STORE(c, FRAME(c, slot), call[slot]) /* C1 */
       }
       atomic {
           assert(sent < 2 || taken[c] > sent - 2);
#ifdef MUTATION_C2
           STORE(c, REQUEST(c, sent), ENTRY(sent, slot));
#else
           RELEASE(c, REQUEST(c, sent), ENTRY(sent, slot)); /* C2 */
#endif
           sent++;
           slot = 0
       }
#ifdef MUTATION_WAKE_BEFORE_BIT
        c4();
        c3();
#else
        c3();
        c4();
#endif
        goto again
    :: got[c] < sent -> goto poll
    :: got[c] == calls -> goto finished
    fi;

poll: /* C5 */
    entry = VIEW(c, REPLY(c, got[c]));
    if
    :: WRITTEN(entry, got[c]) -> goto answered
    :: !WRITTEN(entry, got[c])
    fi;
    STORE(c, WAITS(c), 1); /* C6 */
#ifndef MUTATION_F2
    FENCED(c); /* F2 */
#endif
#ifndef MUTATION_NO_SECOND_LOOK
    entry = VIEW(c, REPLY(c, got[c])); /* C7 */
    if
    :: WRITTEN(entry, got[c]) -> goto answered
    :: !WRITTEN(entry, got[c])
    fi;
#endif
    sleeps[c] = (VIEW(c, WAITS(c)) == 1); /* FUTEX_WAIT */
    !sleeps[c];
    goto poll;

answered:
    atomic {
        STORE(c, WAITS(c), 0); /* C8 */
        slot = entry % 2;
        assert(call[slot] != 0 && VIEW(c, ANSWER(c, slot)) == call[slot]);
        call[slot] = 0;
        got[c]++;
        entry = 0;
        slot = 0
    }
    goto again;

finished:
    done[c] = true
}

/* D3 to D5 for a slot of a lane. */
inline answer(s) {
    STORE(SHARD, ANSWER(lane, s), frame[s]); /* D3 */
    atomic {
        assert(replied[lane] < 2 || got[lane] > replied[lane] - 2);
#ifdef MUTATION_D4
        STORE(SHARD, REPLY(lane, replied[lane]), ENTRY(replied[lane], s));
#else
        RELEASE(SHARD, REPLY(lane, replied[lane]), ENTRY(replied[lane], s)); /* D4 */
#endif
        replied[lane]++;
        frame[s] = 0
    };
#ifndef MUTATION_F4
    FENCED(SHARD); /* F4 */
#endif
    if
    :: VIEW(SHARD, WAITS(lane)) == 1 -> /* D5 */
        d_step { FENCED(SHARD) -> mem[WAITS(lane)] = 0 };
        sleeps[lane] = false /* FUTEX_WAKE */
    :: VIEW(SHARD, WAITS(lane)) == 0
    fi
}

inline look() {
    if
    :: VIEW(SHARD, BIT(0)) || VIEW(SHARD, BIT(1)) -> goto awake
    :: !(VIEW(SHARD, BIT(0)) || VIEW(SHARD, BIT(1)))
    fi
}

proctype shard() {
    byte lane, entry, slot;
    byte replied[2]; /* its position of `reply`, by lane */
    byte frame[2];   /* by slot: the call that it copied out of it and has not answered */
    bool bits[2];

take:
    if
    :: VIEW(SHARD, BIT(0)) || VIEW(SHARD, BIT(1)) -> /* D1 */
#ifdef MUTATION_F3
        bits[0] = VIEW(SHARD, BIT(0));
        bits[1] = VIEW(SHARD, BIT(1));
        if
        :: bits[0] -> STORE(SHARD, BIT(0), 0)
        :: !bits[0]
        fi;
        if
        :: bits[1] -> STORE(SHARD, BIT(1), 0)
        :: !bits[1]
        fi;
#else
        d_step { FENCED(SHARD) -> bits[0] = mem[BIT(0)]; bits[1] = mem[BIT(1)]; mem[BIT(0)] = 0; mem[BIT(1)] = 0 }; /* F3 */
#endif
        lane = 0
    :: !(VIEW(SHARD, BIT(0)) || VIEW(SHARD, BIT(1))) -> goto idle
    fi;

serve:
    atomic {
        do
        :: lane == 2 -> lane = 0; goto take
        :: lane < 2 && !bits[lane] -> lane++
        :: lane < 2 && bits[lane] -> break
        od
    };
read: /* D2 */
    entry = VIEW(SHARD, REQUEST(lane, taken[lane]));
    if
    :: atomic {
           WRITTEN(entry, taken[lane]) ->
           slot = entry % 2;
           assert(frame[slot] == 0);
           taken[lane]++;
           frame[slot] = VIEW(SHARD, FRAME(lane, slot));
           assert(frame[slot] == taken[lane]);
           slot = 0
       }
       goto read
    :: !WRITTEN(entry, taken[lane]) -> entry = 0
    fi;
    do
    :: frame[0] != 0 -> answer(0)
    :: frame[1] != 0 -> answer(1)
    :: frame[0] == 0 && frame[1] == 0 -> break
    od;
    atomic {
        bits[lane] = false;
        goto serve
    };

idle:
#ifdef MUTATION_LATE_ASLEEP
    look();
#endif
    STORE(SHARD, ASLEEP, 1); /* D6 */
#ifndef MUTATION_F5
    FENCED(SHARD); /* F5 */
#endif
#ifndef MUTATION_LATE_ASLEEP
    look(); /* D7 */
#endif
#ifdef MUTATION_LATE_EMPTY
    wake = false;
#endif
    wake; /* poll */
awake:
    STORE(SHARD, ASLEEP, 0);
    wake = false;
    goto take
}

proctype stopper() {
    if
    :: stopped = 1
    :: stopped = 2
    :: true
    fi
}

init {
    atomic {
        run client(0, CALLS0);
        run client(1, CALLS1);
        run drain(0);
        run drain(1);
        run drain(2);
        run shard();
        run stopper()
    }
    timeout -> assert((done[0] || stopped == 1) && (done[1] || stopped == 2))
}
