/*
 * wide.c: wide characters through streams of ours.
 *
 * Streams of fopencookie are for bytes: libc's functions for wide characters crash on them or find nothing. So they are done here over the
 * functions for bytes, character by character in the locale's encoding.
 */
#include "preload.h"

#include <stdarg.h>
#include <wchar.h>

/* The error flag of a stream, which libc sets where it fails itself. */
#define ERROR_SEEN 0x20

static wint_t get(FILE *stream)
{
    mbstate_t state = {0};
    wchar_t wide;
    for (int c, first = 1; (c = getc(stream)) != EOF; first = 0) {
        char byte = (char)c;
        size_t n = mbrtowc(&wide, &byte, 1, &state);
        if (n == (size_t)-1)
            break;
        if (n != (size_t)-2)
            return (wint_t)wide;
        if (!first && feof(stream))
            break;
    }
    if (!feof(stream) && !ferror(stream)) {
        stream->_flags |= ERROR_SEEN;
        errno = EILSEQ;
    }
    return WEOF;
}

static wint_t put(wchar_t wide, FILE *stream)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    size_t n = wcrtomb(bytes, wide, &state);
    if (n == (size_t)-1) {
        stream->_flags |= ERROR_SEEN;
        return WEOF;
    }
    return fwrite(bytes, 1, n, stream) == n ? (wint_t)wide : WEOF;
}

EXPORT wint_t fgetwc(FILE *stream)
{
    return LIKELY(!bp_is_own_stream(stream)) ? REAL(fgetwc)(stream) : get(stream);
}
ALIAS(fgetwc, getwc);

EXPORT wint_t fgetwc_unlocked(FILE *stream)
{
    return LIKELY(!bp_is_own_stream(stream)) ? REAL(fgetwc_unlocked)(stream) : get(stream);
}
ALIAS(fgetwc_unlocked, getwc_unlocked);

EXPORT wint_t getwchar(void)
{
    return fgetwc(stdin);
}
ALIAS(getwchar, getwchar_unlocked);

EXPORT wint_t ungetwc(wint_t wide, FILE *stream)
{
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(ungetwc)(wide, stream);
    size_t n = wide == WEOF ? (size_t)-1 : wcrtomb(bytes, (wchar_t)wide, &state);
    while (n != (size_t)-1 && n > 0)
        if (ungetc((unsigned char)bytes[--n], stream) == EOF)
            return WEOF;
    return n == 0 ? wide : WEOF;
}

EXPORT wchar_t *fgetws(wchar_t *text, int n, FILE *stream)
{
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(fgetws)(text, n, stream);
    int used = 0;
    while (used < n - 1) {
        wint_t wide = get(stream);
        if (wide == WEOF)
            break;
        text[used++] = (wchar_t)wide;
        if (wide == L'\n')
            break;
    }
    if (n <= 0 || (used == 0 && n > 1) || ferror(stream))
        return NULL;
    text[used] = L'\0';
    return text;
}
ALIAS(fgetws, fgetws_unlocked);

EXPORT wchar_t *__fgetws_chk(wchar_t *text, size_t room, int n, FILE *stream)
{
    return n > 0 && (size_t)n > room ? abort(), NULL : fgetws(text, n, stream);
}
ALIAS(__fgetws_chk, __fgetws_unlocked_chk);

EXPORT wint_t fputwc(wchar_t wide, FILE *stream)
{
    return LIKELY(!bp_is_own_stream(stream)) ? REAL(fputwc)(wide, stream) : put(wide, stream);
}
ALIAS(fputwc, putwc);

EXPORT wint_t fputwc_unlocked(wchar_t wide, FILE *stream)
{
    return LIKELY(!bp_is_own_stream(stream)) ? REAL(fputwc_unlocked)(wide, stream) : put(wide, stream);
}
ALIAS(fputwc_unlocked, putwc_unlocked);

EXPORT wint_t putwchar(wchar_t wide)
{
    return fputwc(wide, stdout);
}
ALIAS(putwchar, putwchar_unlocked);

EXPORT int fputws(const wchar_t *text, FILE *stream)
{
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(fputws)(text, stream);
    for (; *text != L'\0'; text++)
        if (put(*text, stream) == WEOF)
            return -1;
    return 1;
}
ALIAS(fputws, fputws_unlocked);

EXPORT int fwide(FILE *stream, int mode)
{
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(fwide)(stream, mode);
    return mode; /* both work */
}

/* ==== Formatted ==== */

EXPORT int vfwprintf(FILE *stream, const wchar_t *format, va_list arguments)
{
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(vfwprintf)(stream, format, arguments);
    /* vswprintf does not tell how much room it wants. */
    for (size_t room = 256; room < ((size_t)1 << 30); room *= 4) {
        wchar_t *text = malloc(room * sizeof *text);
        va_list again;
        if (text == NULL)
            return -1;
        va_copy(again, arguments);
        int n = vswprintf(text, room, format, again);
        va_end(again);
        int rc = n < 0 ? -1 : fputws(text, stream);
        free(text);
        if (n >= 0)
            return rc < 0 ? -1 : n;
    }
    return -1;
}

EXPORT int __vfwprintf_chk(FILE *stream, int flag, const wchar_t *format, va_list arguments)
{
    return LIKELY(!bp_is_own_stream(stream)) ? REAL(__vfwprintf_chk)(stream, flag, format, arguments)
                                             : vfwprintf(stream, format, arguments);
}

EXPORT int vwprintf(const wchar_t *format, va_list arguments)
{
    return vfwprintf(stdout, format, arguments);
}

EXPORT int __vwprintf_chk(int flag, const wchar_t *format, va_list arguments)
{
    return __vfwprintf_chk(stdout, flag, format, arguments);
}

#define WITH_LIST(call)          \
    va_list arguments;           \
    va_start(arguments, format); \
    int n = call;                \
    va_end(arguments);           \
    return n

EXPORT int fwprintf(FILE *stream, const wchar_t *format, ...)
{
    WITH_LIST(vfwprintf(stream, format, arguments));
}

EXPORT int __fwprintf_chk(FILE *stream, int flag, const wchar_t *format, ...)
{
    WITH_LIST(__vfwprintf_chk(stream, flag, format, arguments));
}

EXPORT int wprintf(const wchar_t *format, ...)
{
    WITH_LIST(vfwprintf(stdout, format, arguments));
}

EXPORT int __wprintf_chk(int flag, const wchar_t *format, ...)
{
    WITH_LIST(__vfwprintf_chk(stdout, flag, format, arguments));
}

/*
 * Nothing of libc's scans by characters that somebody else reads. libc has each of these under two names, of which its header turns one into the
 * other: so both are given to functions of another name.
 */
#define BOTH(of, name)                                                                \
    extern __typeof__(of) of##_old __asm__(#name) EXPORT __attribute__((alias(#of))); \
    extern __typeof__(of) of##_new __asm__("__isoc99_" #name) EXPORT __attribute__((alias(#of)))

int bp_vfwscanf(FILE *stream, const wchar_t *format, va_list arguments)
{
    if (LIKELY(!bp_is_own_stream(stream)))
        return REAL(vfwscanf)(stream, format, arguments);
    stream->_flags |= ERROR_SEEN;
    return bp_refuse(F_vfwscanf, EOPNOTSUPP, "scanning wide characters"); /* -1 is EOF */
}
BOTH(bp_vfwscanf, vfwscanf);

int bp_fwscanf(FILE *stream, const wchar_t *format, ...)
{
    WITH_LIST(bp_vfwscanf(stream, format, arguments));
}
BOTH(bp_fwscanf, fwscanf);

int bp_vwscanf(const wchar_t *format, va_list arguments)
{
    return bp_vfwscanf(stdin, format, arguments);
}
BOTH(bp_vwscanf, vwscanf);

int bp_wscanf(const wchar_t *format, ...)
{
    WITH_LIST(bp_vfwscanf(stdin, format, arguments));
}
BOTH(bp_wscanf, wscanf);
