#pragma once
#include <stdint.h>
#include <string.h>

enum { LOW, HIGH, OUTPUT };

class HardwareSerial {
public:
  void begin(unsigned long baud_rate);
  int read();
  unsigned write(uint8_t byte);
  void flush();
  template <class T> unsigned print(T value);
  unsigned println();
  operator bool();
};
extern HardwareSerial Serial;

class EspClass {
public:
  uint32_t getCycleCount();
  uint32_t getCpuFreqMHz();
};
extern EspClass ESP;

unsigned long micros();
void delay(unsigned long milliseconds);
void delayMicroseconds(unsigned microseconds);
void yield();
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
void setup();
void loop();
