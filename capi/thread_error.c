/*
 * thread_error.c: the error text of each thread.
 *
 * The thread-local part is three words: Go marks the library as static TLS, where room is scarce (a large array there keeps dlopen
 * from loading it). The text is on the heap and goes with the thread.
 */
#include "shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct thread_error {
    const char *text; /* NULL: no call has failed; else heap, or a text that lives for ever */
    char *heap;
    size_t room; /* bytes at heap */
};

static __thread struct thread_error own;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_made;

/* At the end of a thread. It runs on that thread: own is its. */
static void forget(void *heap)
{
    free(heap);
    own.text = NULL;
    own.heap = NULL;
    own.room = 0;
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, forget) == 0;
}

/* Makes room for n bytes; 0 if there is none. */
static int reserve(size_t n)
{
    if (n <= own.room)
        return 1;
    pthread_once(&once, make_key);
    if (!key_made)
        return 0;
    char *grown = realloc(own.heap, n);
    if (grown == NULL)
        return 0;
    own.text = NULL;
    own.heap = grown;
    own.room = n;
    return pthread_setspecific(key, grown) == 0;
}

void bfs_set_error(char *text, size_t n)
{
    if (!reserve(n + 1)) {
        own.text = "no memory for the text of the error";
        return;
    }
    memcpy(own.heap, text, n);
    own.heap[n] = '\0';
    own.text = own.heap;
}

void bfs_set_static_error(const char *text)
{
    own.text = text;
}

const char *bfs_error(void)
{
    return own.text != NULL ? own.text : "";
}
