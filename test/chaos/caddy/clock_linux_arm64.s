#include "textflag.h"

// The function of the C calling convention that shiftedClock tells: R0 is the clock, R1 a
// timespec. It runs on a thread's own stack.
TEXT clockGettime<>(SB),NOSPLIT|NOFRAME,$0
	SUB	$32, RSP
	MOVD	R0, 0(RSP)
	MOVD	R1, 8(RSP)
	MOVD	R30, 16(RSP)
	MOVD	·kernelClock(SB), R9
	BL	(R9)
	MOVD	0(RSP), R2
	MOVD	8(RSP), R1
	MOVD	16(RSP), R30
	ADD	$32, RSP
	CMPW	$0, R2 // CLOCK_REALTIME
	BNE	done
	MOVD	·clockOffset(SB), R3
	MOVD	0(R1), R4 // tv_sec
	ADD	R3, R4
	MOVD	R4, 0(R1)
done:
	RET

// func shiftedClock() uintptr
TEXT ·shiftedClock(SB),NOSPLIT,$0-8
	MOVD	$clockGettime<>(SB), R0
	MOVD	R0, ret+0(FP)
	RET
