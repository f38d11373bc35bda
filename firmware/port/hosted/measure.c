/* The harness under a framework that has the program's entry to itself: main() as a function that its port calls. */
#define main measure
#include "main.c"
