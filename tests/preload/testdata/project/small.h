int count_lines(const char *text);
int count_words(const char *text);
int sum_bytes(const char *text);
