#pragma once
#include "hal.h"
