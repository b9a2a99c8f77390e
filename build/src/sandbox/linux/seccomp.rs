//! The system call filter of a build, as a BPF program made by hand.
//!
//! Equal in effect to the reference's (`setupSeccomp` in `linux-derivation-builder.cc`, 2.34): everything is allowed,
//! but `chmod` and its relatives must not set the set-user-id or set-group-id bit (`EPERM`), and extended attributes
//! do not exist (`ENOTSUP`), because a NAR can't hold either. The surprising part is that a 64-bit kernel also runs the
//! 32-bit instruction set's calls, under other numbers: each such architecture needs its own table.

use super::syscall::BpfInstruction;

/// The calls that the filter looks at, for one architecture.
struct Table {
    /// `AUDIT_ARCH_*` of `linux/audit.h`.
    architecture: u32,
    /// Calls whose second argument is a mode.
    mode_second: &'static [u32],
    /// Calls whose third argument is a mode.
    mode_third: &'static [u32],
    /// First and last of the calls that set and get extended attributes; their numbers are consecutive.
    attributes: (u32, u32),
}

const FCHMODAT2: u32 = 452;

#[cfg(target_arch = "x86_64")]
const TABLES: &[Table] = &[
    // x86_64; the x32 variant has the same numbers with bit 30 set, which `filter` strips.
    Table { architecture: 0xc000_003e, mode_second: &[90, 91], mode_third: &[268, FCHMODAT2], attributes: (188, 193) },
    // i386
    Table { architecture: 0x4000_0003, mode_second: &[15, 94], mode_third: &[306, FCHMODAT2], attributes: (226, 231) },
];

#[cfg(target_arch = "aarch64")]
const TABLES: &[Table] = &[
    Table { architecture: 0xc000_00b7, mode_second: &[52], mode_third: &[53, FCHMODAT2], attributes: (5, 10) },
    // 32-bit ARM
    Table { architecture: 0x4000_0028, mode_second: &[15, 94], mode_third: &[333, FCHMODAT2], attributes: (226, 231) },
];

#[cfg(target_arch = "riscv64")]
const TABLES: &[Table] =
    &[Table { architecture: 0xc000_00f3, mode_second: &[52], mode_third: &[53, FCHMODAT2], attributes: (5, 10) }];

#[cfg(target_arch = "loongarch64")]
const TABLES: &[Table] =
    &[Table { architecture: 0xc000_0102, mode_second: &[52], mode_third: &[53, FCHMODAT2], attributes: (5, 10) }];

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)))]
const TABLES: &[Table] = &[];

// Operations (`linux/bpf_common.h`).
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER_OR_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The low half of argument `index`, where a mode is.
const fn argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const SET_ID_BITS: u32 = 0o6000;
/// Marks the x32 variant of an x86_64 call.
const X32_BIT: u32 = 0x4000_0000;

fn instruction(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> BpfInstruction {
    BpfInstruction { code, jump_true, jump_false, operand }
}

/// Returns the program; `None` on an architecture for which there is no table.
pub(crate) fn filter() -> Option<Vec<BpfInstruction>> {
    if TABLES.is_empty() {
        return None;
    }
    let mut program = Vec::new();
    for table in TABLES {
        let block = block(table);
        program.push(instruction(LOAD, ARCHITECTURE, 0, 0));
        let skip = u8::try_from(block.len()).expect("a block is about twenty instructions long");
        program.push(instruction(JUMP_EQUAL, table.architecture, 0, skip));
        program.extend(block);
    }
    // A foreign architecture: the kernel ran a call by numbers that no table knows.
    program.push(instruction(RETURN, KILL_PROCESS, 0, 0));
    Some(program)
}

/// What to do once the architecture is known; always ends in a return.
fn block(table: &Table) -> Vec<BpfInstruction> {
    let mut block = vec![instruction(LOAD, NUMBER, 0, 0)];
    if table.architecture == 0xc000_003e {
        block.push(instruction(AND, !X32_BIT, 0, 0));
    }
    let (first, last) = table.attributes;
    // number >= first and not number >= last + 1: no such attribute call.
    block.push(instruction(JUMP_GREATER_OR_EQUAL, first, 0, 2));
    block.push(instruction(JUMP_GREATER_OR_EQUAL, last + 1, 1, 0));
    block.push(instruction(RETURN, ERRNO | libc::ENOTSUP as u32, 0, 0));
    for (index, numbers) in [(1, table.mode_second), (2, table.mode_third)] {
        for &number in numbers {
            block.push(instruction(JUMP_EQUAL, number, 0, 4));
            block.push(instruction(LOAD, argument(index), 0, 0));
            block.push(instruction(JUMP_ANY_BIT, SET_ID_BITS, 0, 1));
            block.push(instruction(RETURN, ERRNO | libc::EPERM as u32, 0, 0));
            block.push(instruction(RETURN, ALLOW, 0, 0));
        }
    }
    block.push(instruction(RETURN, ALLOW, 0, 0));
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interprets the program on one call, as the kernel would.
    fn run(architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        let program = filter().expect("this architecture has a table");
        let (mut pc, mut accumulator) = (0, 0_u32);
        loop {
            let BpfInstruction { code, jump_true, jump_false, operand } = program[pc];
            pc += 1;
            let holds = match code {
                LOAD => {
                    accumulator = match operand {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        offset => arguments[(offset as usize - 16) / 8] as u32,
                    };
                    continue;
                }
                AND => {
                    accumulator &= operand;
                    continue;
                }
                RETURN => return operand,
                JUMP_EQUAL => accumulator == operand,
                JUMP_GREATER_OR_EQUAL => accumulator >= operand,
                JUMP_ANY_BIT => accumulator & operand != 0,
                other => panic!("unknown operation {other:#x}"),
            };
            pc += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    #[test]
    fn set_id_bits_are_refused_and_plain_modes_allowed() {
        let refused = ERRNO | libc::EPERM as u32;
        for table in TABLES {
            for &number in table.mode_second {
                assert_eq!(run(table.architecture, number, [0, 0o4755, 0]), refused);
                assert_eq!(run(table.architecture, number, [0, 0o2755, 0]), refused);
                assert_eq!(run(table.architecture, number, [0, 0o755, 0o6000]), ALLOW);
            }
            for &number in table.mode_third {
                assert_eq!(run(table.architecture, number, [0, 0, 0o4755]), refused);
                assert_eq!(run(table.architecture, number, [0, 0o6000, 0o1777]), ALLOW);
            }
        }
    }

    #[test]
    fn extended_attributes_are_refused_and_their_neighbours_allowed() {
        for table in TABLES {
            let (first, last) = table.attributes;
            for number in first..=last {
                assert_eq!(run(table.architecture, number, [0; 3]), ERRNO | libc::ENOTSUP as u32);
            }
            assert_eq!(run(table.architecture, first - 1, [0; 3]), ALLOW);
            assert_eq!(run(table.architecture, last + 1, [0; 3]), ALLOW);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn x32_calls_are_filtered_too_and_foreign_architectures_killed() {
        assert_eq!(run(0xc000_003e, 90 | X32_BIT, [0, 0o4755, 0]), ERRNO | libc::EPERM as u32);
        assert_eq!(run(0xc000_003e, 189 | X32_BIT, [0; 3]), ERRNO | libc::ENOTSUP as u32);
        assert_eq!(run(0xc000_00b7, 0, [0; 3]), KILL_PROCESS);
    }
}
