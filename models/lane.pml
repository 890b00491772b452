/*
 * Lanes and areas over the door: claim, end of a connection, death, restart (shm/PROTOCOL.md, sections 1.1 and 6).
 *
 * LANES: a daemon with one lane number. Client 0 takes a lane, makes a call, gives the lane up (with or without the reply: the call may have
 * timed out), and takes another one; its connection may end and it may die at any step. Client 1 takes a lane as soon as the number is free,
 * and makes a call.
 * AREAS: client 0 has an area, which it announces and pins in; it goes on doing so without a connection, as long as it lives and has not given
 * the area back. Its first thread may end before the others. The number of its process may be given to another process, which never ends. The
 * daemon may be started anew at any step of the door.
 * The door and the shard are two threads. There are no store buffers here: all this goes through system calls and locks, which fence.
 *
 * Properties
 * - A reply lands in the lane that its request came from, and the last owner of the number gets its reply.
 * - A client that touches file data or has a file open by pin has an area that the shard looks at.
 * - When nothing moves any more, the area of a dead process is gone, and so is one that was given back.
 *
 * Bounds: the model must hold in each.
 * CONFIG -DLANES
 * CONFIG -DAREAS
 *
 * Mutations: the model must fail with each of them, in one of these bounds.
 * MUTATION_REUSE_EARLY: the number is given out again before the shard has forgotten the lane
 * MUTATION_BY_NUMBER: a reply goes to whoever has the number of the lane
 * MUTATION_LISTED_LATE: an area is handed out before the shard looks at it
 * MUTATION_DROP_ENDED: the area goes with the connection
 * MUTATION_DROP_EMPTY: the area goes when the connection has ended and no announcement is left in it
 * MUTATION_FIRST_THREAD: a process whose first thread has ended is taken for dead
 * MUTATION_COMPARE_FIRST: after a restart, the start time is compared before the pidfd is opened
 * MUTATION_NO_PIDFD: the successor does not watch the processes of the areas that it finds
 */
#define NONE 9

/* Memory of lanes: 0 and 1 are client 0's, 2 is client 1's. */
bool request[3]; /* in the request ring */
bool reply[3];   /* in the reply ring */
bool bell;       /* bit of the one lane number, in memory that all share */

/* The door. */
byte number = NONE; /* the lane that has the number */
bool wants[3];      /* a client asks for this lane */
bool has[3];        /* it was given it */
bool closes[3];     /* it has given it up */
bool forget;        /* the door's word to the shard */
byte daemon;        /* the process that is the door */

/* The shard. */
byte lane = NONE;    /* the lane that it has mapped at the number */
byte pending = NONE; /* the lane whose request it has taken, and not answered */

/* Client 0. */
bool alive = true;
bool leader = true; /* its first thread has not ended */
bool ended;         /* its connection */
bool taken;         /* another process has the number that its process had */
bool wanted, given, back; /* its area: asked for, handed out, given back */
bool listed;        /* the file of the area is there, and the shard looks at it */
bool announced;
byte watched = NONE; /* the process behind the pidfd that the daemon has for the area: CLIENT or OTHER */
#define CLIENT 0
#define OTHER 1

bool served; /* client 1 has its reply */

inline take_lane(l) {
    wants[l] = true;
    has[l];
    request[l] = true; /* C2 */
    bell = true        /* C3 */
}

proctype caller0() provided (alive) {
end:
    take_lane(0);
    if
    :: reply[0]
    :: true /* the call timed out */
    fi;
    closes[0] = true;
    take_lane(1);
    if
    :: reply[1]
    :: true
    fi;
    closes[1] = true
}

proctype caller1() {
    take_lane(2);
    reply[2];
    served = true
}

proctype shard() {
    byte to;

end:
    do
    :: atomic { bell && pending == NONE -> bell = false } /* D1 */
       atomic { /* D2 */
           if
           :: lane != NONE ->
               if
               :: request[lane] -> request[lane] = false; pending = lane
               :: else
               fi
           :: else
           fi
       }
    :: atomic { /* D3, D4 */
           pending != NONE ->
#ifdef MUTATION_BY_NUMBER
           to = lane;
#else
           to = (lane == pending -> lane : NONE);
#endif
           if
           :: to != NONE -> reply[to] = true; assert(to == pending)
           :: else
           fi;
           to = 0;
           pending = NONE
       }
    :: atomic { forget -> lane = NONE; forget = false }
    od
}

/* A thread of client 0 that works in place, with or without a connection; the places that it was told hold. */
proctype worker() provided (alive) {
end:
    wanted = true;
    given;
    do
    :: announced = true;  /* U1 */
       assert(listed);    /* U3 */
       announced = false  /* U4 */
    :: assert(listed)     /* it has a file open by a pin in the area */
    :: back = true; break /* the last message at the door: it uses the area no more */
    od
}

inline give_lane(l) {
    atomic {
        wants[l] && !has[l] && !closes[l] && number == NONE && (l == 2 || !ended) ->
        number = l;
        lane = l;
        has[l] = true
    }
}

#define CLOSED(l) (closes[l] || ((l) < 2 && ended))

proctype door(bool successor) provided (daemon == _pid) {
    byte process = NONE;
    bool same;

    if
    :: successor && listed -> /* R2 */
#ifdef MUTATION_COMPARE_FIRST
        same = !taken && alive;
        process = (taken -> OTHER : (alive -> CLIENT : NONE)); /* pidfd_open */
#else
        process = (taken -> OTHER : (alive -> CLIENT : NONE)); /* pidfd_open */
        same = !taken && alive;
#endif
        if
        :: !same || process == NONE -> listed = false
#ifdef MUTATION_NO_PIDFD
        :: same && process != NONE
#else
        :: same && process != NONE -> watched = process
#endif
        fi
    :: !successor || !listed
    fi;
end:
    do
    :: give_lane(0)
    :: give_lane(1)
    :: give_lane(2)
    :: number != NONE && CLOSED(number) ->
       forget = true;
#ifndef MUTATION_REUSE_EARLY
       !forget;
#endif
       number = NONE
    :: wanted && !given && alive && !back ->
#ifdef MUTATION_LISTED_LATE
       given = true;
       atomic { listed = true; watched = CLIENT }
#else
       atomic { listed = true; watched = CLIENT };
       given = true
#endif
    :: atomic { listed && watched == CLIENT && !alive -> listed = false } /* the pidfd is readable */
    :: atomic { listed && back -> listed = false }
#ifdef MUTATION_DROP_ENDED
    :: atomic { listed && ended -> listed = false }
#endif
#ifdef MUTATION_DROP_EMPTY
    :: atomic { listed && ended && !announced -> listed = false }
#endif
#ifdef MUTATION_FIRST_THREAD
    :: atomic { listed && !leader -> listed = false }
#endif
    od
}

/* What may happen to client 0 at any step. */
proctype fate() {
    if
    :: leader = false
    :: true
    fi;
    if
    :: ended = true
    :: true
    fi;
    if
    :: atomic { alive = false; leader = false; ended = true } taken = true
    :: atomic { alive = false; leader = false; ended = true }
    :: true
    fi
}

/* The daemon dies, and another one starts. (Lanes die with it: LANES has none of this.) */
proctype restart() {
    if
    :: atomic { watched = NONE; daemon = run door(true) }
    :: true
    fi
}

init {
    atomic {
        daemon = run door(false);
        run fate();
#ifdef LANES
        run shard();
        run caller0();
        run caller1();
#endif
#ifdef AREAS
        run worker();
        run restart();
#endif
        skip
    }
    timeout ->
#ifdef LANES
    assert(served);
#endif
    assert(!listed || (alive && !back))
}
