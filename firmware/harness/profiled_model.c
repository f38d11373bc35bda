/* The model a second time, with a hook around every layer. The first one stays as it is shipped, so that what is
 * measured without hooks is the real thing. The weights, in a file of their own, are not doubled. */
#define TINYOPT_PROFILE
#define model_run model_run_profiled
#define model_reset model_reset_profiled
#include "model.c"
