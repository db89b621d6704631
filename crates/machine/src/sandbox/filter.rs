//! The system calls that no app has a use for and an escape begins with, refused by seccomp
//! (`seccomp(2)`), for a process and everything that it starts.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Refused whatever their arguments: other processes' memory and descriptors, mounts and
/// namespaces, the kernel itself and its keys.
const REFUSED: [libc::c_long; 38] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
];

/// The namespaces that `clone` and `unshare` make.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Kinds of sockets that apps talk by; any other (`AF_VSOCK` leads to the machine's host) is
/// refused.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// What marks the calls of the x32 ABI, which a kernel for `x86_64` may take beside its own, and
/// those that have a number of their own there.
const X32: i64 = 0x4000_0000;
const X32_OWN: std::ops::RangeInclusive<i64> = 512..=547;

/// Refuses the calls from now on. Named Unix sockets are refused, too, where nothing else keeps
/// those of others away.
pub(crate) fn refuse(unix_sockets: bool) -> io::Result<()> {
    let not_permitted = rules(unix_sockets).and_then(|rules| apply(rules, libc::EPERM));
    // Its flags lie in memory, where a filter cannot look; told that it is unknown, the C library
    // takes `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    not_permitted
        .and_then(|()| apply(unknown, libc::ENOSYS))
        .map_err(|error| io::Error::other(format!("cannot filter system calls: {error}")))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn apply(rules: Rules, errno: libc::c_int) -> Result<(), seccompiler::Error> {
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    let target: TargetArch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, target)?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

fn rules(unix_sockets: bool) -> Result<Rules, seccompiler::Error> {
    let mut rules: Rules = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let mut makes = Vec::new();
    for bit in 0..i32::BITS {
        let flag = 1 << bit;
        if NAMESPACES & flag != 0 {
            let mask = u64::from(flag.unsigned_abs());
            let is_set = condition(0, SeccompCmpOp::MaskedEq(mask), flag)?;
            makes.push(SeccompRule::new(vec![is_set])?);
        }
    }
    rules.insert(libc::SYS_clone, makes.clone());
    rules.insert(libc::SYS_unshare, makes);
    let strange: Result<Vec<_>, _> =
        FAMILIES.into_iter().map(|family| condition(0, SeccompCmpOp::Ne, family)).collect();
    let mut sockets = vec![SeccompRule::new(strange?)?];
    if unix_sockets {
        sockets.push(SeccompRule::new(vec![condition(0, SeccompCmpOp::Eq, libc::AF_UNIX)?])?);
    }
    rules.insert(libc::SYS_socket, sockets);
    if cfg!(target_arch = "x86_64") {
        let marked = rules.iter().map(|(call, rules)| (call | X32, rules.clone()));
        let own = X32_OWN.map(|call| (call | X32, Vec::new()));
        rules = marked.chain(own).chain(rules.clone()).collect();
    }
    Ok(rules)
}

fn condition(
    argument: u8,
    operation: SeccompCmpOp,
    value: libc::c_int,
) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
}
