/* bare.c: a program without a library. What the others take beyond it is what their libraries cost. */
int main(void)
{
    return 0;
}
