#include "textflag.h"

// The function of the C calling convention that shiftedClock tells: DI is the clock, SI a
// timespec. It runs on a thread's own stack, which is aligned to 16 bytes before the call.
TEXT clockGettime<>(SB),NOSPLIT|NOFRAME,$0
	SUBQ	$24, SP
	MOVQ	DI, 0(SP)
	MOVQ	SI, 8(SP)
	MOVQ	·kernelClock(SB), AX
	CALL	AX
	MOVQ	0(SP), DI
	MOVQ	8(SP), SI
	ADDQ	$24, SP
	CMPL	DI, $0 // CLOCK_REALTIME
	JNE	done
	MOVQ	·clockOffset(SB), CX
	ADDQ	CX, 0(SI) // tv_sec
done:
	RET

// func shiftedClock() uintptr
TEXT ·shiftedClock(SB),NOSPLIT,$0-8
	LEAQ	clockGettime<>(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
