/* golibrary.c: a program that calls a Go library (library/) once. */
int bench_answer(void);

int main(void)
{
    return bench_answer();
}
