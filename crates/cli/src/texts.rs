//! What the command line itself says, in both languages.

vmatlas_view::texts! {
    /// Page faults, not here.
    NO_FAULTS: "page faults cannot be watched here: {why} ('vmatlas doctor' says what is missing)",
        "ここではページフォールトを監視できません: {why} (何が足りないかは 'vmatlas doctor' で分かります)";
    /// Page faults, not permitted.
    FAULTS_REFUSED: "watching page faults is not permitted: {why}; kernel.perf_event_paranoid is {level}, and 'sudo sysctl kernel.perf_event_paranoid=2' permits it for your own programs (in a container its seccomp profile may forbid perf_event_open)",
        "ページフォールトの監視が許可されていません: {why}。kernel.perf_event_paranoid は {level} です。'sudo sysctl kernel.perf_event_paranoid=2' で自分のプログラムを監視できるようになります (コンテナでは seccomp プロファイルが perf_event_open を禁止していることもあります)";
    /// A command of the design that does not exist yet.
    NOT_YET: "'{name}' is not yet there", "'{name}' はまだありません";
    /// A file where only a living process will do.
    PATH_NOT_YET: "{path} is a file or folder, and this command needs a living process: give a PID or a process name ('vmatlas show' reads saved maps and core files)",
        "{path} はファイルかフォルダーですが、このコマンドには動作中のプロセスが必要です。PID かプロセス名を指定してください (保存した maps やコアファイルは 'vmatlas show' で読めます)";
    /// A saved source that cannot be read.
    SAVED_UNREADABLE: "cannot read {path}: {why}", "{path} を読めません: {why}";
    /// A device or FIFO.
    SAVED_SPECIAL: "{path} is a FIFO, socket or device; give saved maps or smaps, a copied /proc/PID folder, or a core file",
        "{path} は FIFO・ソケット・デバイスです。保存した maps か smaps、コピーした /proc/PID フォルダー、コアファイルのどれかを指定してください";
    /// A folder without maps.
    SAVED_NO_MAPS: "{path} is a folder without a readable maps or smaps in it, so no copy of /proc/PID",
        "{path} は読める maps も smaps もないフォルダーで、/proc/PID のコピーではありません";
    /// Nothing in it.
    SAVED_EMPTY: "{path} is empty: nothing was saved (reading maps and smaps of another user's process needs permission)",
        "{path} は空です: 何も保存されていません (ほかのユーザーのプロセスの maps や smaps を読むには権限が必要です)";
    /// Packed.
    SAVED_PACKED: "{path} is packed ({packer}); unpack it first", "{path} は圧縮されています ({packer})。先に展開してください";
    /// smaps_rollup.
    SAVED_ROLLUP: "{path} is smaps_rollup, which has totals only and no map; save smaps",
        "{path} は smaps_rollup です。合計だけでメモリマップはありません。smaps を保存してください";
    /// An ELF file of another kind.
    SAVED_NOT_CORE: "{path} is an ELF program or library, but no core file", "{path} は ELF のプログラムかライブラリで、コアファイルではありません";
    /// Something else.
    SAVED_UNKNOWN: "{path} is neither saved maps or smaps, nor a copied /proc/PID folder, nor a core file",
        "{path} は保存された maps や smaps でも、コピーされた /proc/PID フォルダーでも、コアファイルでもありません";
    /// A bad line.
    SAVED_LINE: "{path}, line {line}: expected a line of maps or smaps, found \"{found}\"",
        "{path} の {line} 行目: maps か smaps の行ではありません: \"{found}\"";
    /// Too large.
    SAVED_TOO_LARGE: "{path} holds more than 1 GiB of text: more than any maps or smaps", "{path} のテキストは 1 GiB を超えています: maps や smaps としては大きすぎます";
    /// A command that was never planned.
    NO_SUCH_COMMAND: "there is no command '{name}'; see vmatlas --help", "'{name}' というコマンドはありません (vmatlas --help)";
    /// No process of that number.
    NO_PROCESS: "there is no process {pid}", "PID {pid} のプロセスはありません";
    /// No process of that name.
    NO_NAME: "no process is called '{name}'; give a PID, or see 'ps -e'",
        "'{name}' という名前のプロセスはありません (PID を指定するか 'ps -e' で確認してください)";
    /// Several of them.
    AMBIGUOUS: "'{name}' means {n} processes; give one of these PIDs: {pids}",
        "'{name}' は {n} 個のプロセスに当てはまります。次の PID から 1 つ選んでください: {pids}";
    /// Ended while being read.
    GONE: "process {pid} ended, or executed another program, while it was read",
        "プロセス {pid} は読み取り中に終了したか、別のプログラムを実行しました";
    /// Only its exit status is left.
    ZOMBIE: "process {pid} has ended (zombie): it has no memory any more; its parent has not collected its status",
        "プロセス {pid} は終了しています (ゾンビ): もうメモリはありません。親プロセスが終了ステータスを回収していません";
    /// No memory of its own.
    KERNEL_THREAD: "{pid} is a kernel thread: it has no memory map of its own",
        "{pid} はカーネルスレッドです: 自分のメモリマップはありません";
    /// A temporary file in the way.
    PACK_LEFT: "{path} is in the way: another 'vmatlas pack' is at work, or one was killed and left it; then remove it",
        "{path} があるため書き込めません。別の 'vmatlas pack' が実行中か、強制終了された pack の残りです。残りであれば削除してください";
    /// Pages of a traced program.
    NO_PAGE_SNAPSHOT: "the resident pages cannot be read, and are not recorded: {why}", "常駐ページを読めないため記録しません: {why}";
    /// Pages of a recording.
    PAGES_OF_RECORDING: "single pages are not recorded: 'vmatlas show {target}' and 'vmatlas origins {target} --by resident' tell sums for each VMA and call site where 'run --pages', 'attach --pages' or 'watch' recorded them",
        "ページ 1 枚ごとの情報は記録されません。'run --pages'、'attach --pages'、'watch' で記録した時点なら、'vmatlas show {target}' で領域ごと、'vmatlas origins {target} --by resident' で呼び出し元ごとの合計が分かります";
    /// The third way to read pages.
    ONLY_SMAPS: "this kernel has no pagemap: reading smaps, which holds the process for about 9 ms per GiB of small pages (--no-resident leaves it out)",
        "このカーネルには pagemap がありません。smaps を読みますが、その間プロセスは小さいページ 1 GiB あたり約 9 ms 待たされます (--no-resident で省略できます)";
    /// It does not answer.
    TIMED_OUT: "process {pid} did not answer in time: its memory is locked by a task that sleeps, or belongs to a server that does not answer (FUSE, NFS, userfaultfd); try again, or see what its tasks wait for: cat /proc/{pid}/task/*/wchan",
        "プロセス {pid} が時間内に応答しません: メモリのロックを眠っているタスクが持っているか、応答しないサーバー (FUSE, NFS, userfaultfd) のメモリです。もう一度試すか、タスクが何を待っているか確認してください: cat /proc/{pid}/task/*/wchan";
    /// Not ours to read.
    NOT_PERMITTED: "not permitted to read process {pid}: it belongs to another user or is protected; run as root (sudo), or give CAP_SYS_PTRACE",
        "プロセス {pid} を読む権限がありません: ほかのユーザーのプロセスか、保護されています。root (sudo) で実行するか、CAP_SYS_PTRACE を与えてください";
    /// Not ours to read, though we are root.
    NOT_PERMITTED_ROOT: "not permitted to read process {pid}, even as root: it is protected, or this root lacks CAP_SYS_PTRACE (a container)",
        "root でもプロセス {pid} を読めません: 保護されているか、この root に CAP_SYS_PTRACE がありません (コンテナなど)";
    /// Before smaps is read.
    READING_SMAPS: "reading smaps, which holds process {pid} for about {ms} ms", "smaps を読みます: その間プロセス {pid} は約 {ms} ms 待たされます";
    /// A bad address.
    BAD_ADDR: "'{text}' is no address: give {wanted}", "'{text}' はアドレスではありません ({wanted})";
    /// A bad PID.
    BAD_PID: "{pid} is no PID", "{pid} は PID ではありません";
    /// The program cannot be found.
    NOT_FOUND: "{program}: not found", "{program}: 見つかりません";
    /// The program cannot be executed.
    NOT_EXECUTABLE: "{program}: cannot be executed: {why}", "{program}: 実行できません: {why}";
    /// Somebody else traces.
    TRACE_NOT_PERMITTED: "tracing is not permitted: another tracer (strace, gdb) has us already, or the system forbids it (kernel.yama.ptrace_scope)",
        "トレースできません: 別のトレーサー (strace, gdb) にトレースされているか、システムが禁止しています (kernel.yama.ptrace_scope)";
    /// A /proc with other numbers.
    OTHER_PROC: "/proc is that of another PID namespace: its numbers are not ours; mount one of our own (unshare --mount-proc)",
        "/proc が別の PID 名前空間のものです: 番号が一致しません。この名前空間の /proc をマウントしてください (unshare --mount-proc)";
    /// A check that compared nothing.
    NOTHING_COMPARED: "--check compared nothing: the maps could not be read", "--check は何も比較できませんでした: メモリマップを読み取れません";
    /// Stacks that got no number.
    STACKS_LOST: "{n} call stacks were not kept: too many different ones",
        "コールスタック {n} 個を保存できませんでした: 種類が多すぎます";
    /// A perf map or jitdump that somebody else wrote.
    JIT_FOREIGN: "{path} belongs to another user: no names of code are taken from it",
        "{path} は別のユーザーのファイルなので、コードの名前の取得には使いません";
    /// A perf map or jitdump that is none.
    JIT_SPECIAL: "{path} is no regular file: no names of code are taken from it",
        "{path} は通常のファイルではないので、コードの名前の取得には使いません";
    /// A perf map or jitdump that cannot be read.
    JIT_UNREADABLE: "no names of code are taken from {path}: {why}", "{path} からコードの名前を取得できません: {why}";
    /// A perf map or jitdump that is too large.
    JIT_CUT: "{path} is larger than {why} MiB: code that its rest tells of has no names",
        "{path} は {why} MiB を超えています: 残りの部分に書かれたコードには名前が付きません";
    /// A perf map or jitdump that is another process's by now.
    JIT_CHANGED: "{path} was written to after its process had ended: no names of code are taken from it",
        "{path} はプロセスの終了後に書き換えられたので、コードの名前の取得には使いません";
    /// Files of code made at run time that did not answer.
    JIT_LATE: "code made at run time has no names where the perf map or jitdump of its process could not be read in time (processes: {n}, the first {pid})",
        "perf map や jitdump を時間内に読み取れなかったプロセスでは、実行時に生成されたコードに名前が付きません (プロセス数 {n}, 最初は {pid})";
    /// Stacks that came too fast.
    STACKS_MISSED: "{n} call stacks were lost: they came faster than they could be read",
        "コールスタック {n} 個を失いました: 読み取りが間に合いませんでした";
    /// Lines that nobody read.
    LINES_LOST: "{n} lines were lost: nobody read them in time", "{n} 行を失いました: 読み取りが間に合いませんでした";
    /// It is us.
    ATTACH_SELF: "vmatlas cannot watch itself", "vmatlas 自身には接続できません";
    /// Another tracer is there.
    OTHER_TRACER: "process {pid} is traced by process {tracer} already (strace, gdb); a process has one tracer",
        "プロセス {pid} はすでにプロセス {tracer} (strace, gdb など) にトレースされています。トレーサーは 1 つだけです";
    /// Not ours to trace.
    ATTACH_NOT_PERMITTED: "not permitted to trace process {pid}: it belongs to another user or is protected; run as root (sudo), or give CAP_SYS_PTRACE",
        "プロセス {pid} をトレースする権限がありません: ほかのユーザーのプロセスか、保護されています。root (sudo) で実行するか、CAP_SYS_PTRACE を与えてください";
    /// Yama forbids it.
    ATTACH_YAMA: "not permitted to trace process {pid}: kernel.yama.ptrace_scope is {scope}, which allows children only; run as root (sudo), or 'sysctl kernel.yama.ptrace_scope=0'",
        "プロセス {pid} をトレースする権限がありません: kernel.yama.ptrace_scope が {scope} なので子プロセスしかトレースできません。root (sudo) で実行するか 'sysctl kernel.yama.ptrace_scope=0' を実行してください";
    /// Tracing needs more than this kernel has.
    TRACE_TOO_OLD: "this kernel cannot tell system calls to a tracer (PTRACE_GET_SYSCALL_INFO, Linux 5.3)",
        "このカーネルではシステムコールをトレースできません (PTRACE_GET_SYSCALL_INFO, Linux 5.3)";
    /// A NUL byte in a name.
    NUL_BYTE: "{program}: a name or argument holds a NUL byte", "{program}: 名前か引数に NUL バイトが含まれています";
    /// Another failure of a system call of ours.
    SYSTEM: "{what}: {why}", "{what}: {why}";
    /// The process's files could not be read otherwise.
    CANNOT_READ: "process {pid} cannot be read: {why}", "プロセス {pid} を読めません: {why}";
    /// An option that what was saved cannot answer.
    LIVING_ONLY: "{option} asks the kernel, and this was saved: it needs a living process", "{option} はカーネルに問い合わせるため、動作中のプロセスが必要です (指定されたのは保存済みのデータです)";
    /// smaps that were not saved.
    SMAPS_NOT_SAVED: "--smaps: there is no smaps in {path}", "--smaps: {path} に smaps はありません";
    /// Two parts of a process.
    ONE_PART: "-p PID takes one address, range or kind, not two", "-p PID と一緒に指定できるアドレス・範囲・種類は 1 つだけです";
    /// No such cgroup.
    NO_CGROUP: "there is no memory cgroup {path} here; give a folder below /sys/fs/cgroup, or a path as in /proc/PID/cgroup",
        "メモリ cgroup {path} はここにありません。/sys/fs/cgroup 以下のフォルダーか /proc/PID/cgroup のパスを指定してください";
    /// In the help of an experiment.
    TRY_NEXT: "Try next:", "次に試すこと:";
    /// No such experiment.
    NO_EXPERIMENT: "there is no experiment '{name}'; 'vmatlas lab' lists them", "'{name}' という実験はありません ('vmatlas lab' で一覧を表示)";
    /// An experiment without a picture.
    NO_PICTURE: "'lab {name}' has no picture", "'lab {name}' には図がありません";
    /// Between steps.
    PRESS_ENTER: "Press Enter to go on", "Enter キーで次へ";
    /// Nothing is mapped there.
    NO_SUCH_PART: "process {pid} has no memory mapped at or called {what}; 'vmatlas show {pid}' lists what it has",
        "プロセス {pid} に {what} にあたる領域はありません ('vmatlas show {pid}' で一覧を表示)";
    /// A recording is in the way.
    REC_EXISTS: "{path} exists already; give another name, or --force to replace a recording", "{path} はすでにあります。別の名前を指定するか、記録を置き換えるなら --force を付けてください";
    /// Something else is in the way.
    REC_NOT_OURS: "{path} is no recording, so --force does not replace it", "{path} は記録ではないので、--force でも置き換えません";
    /// Not a recording.
    REC_NONE: "{path} is no recording (a folder made by 'vmatlas run -o', or a file made by 'vmatlas pack')",
        "{path} は記録ではありません ('vmatlas run -o' で作られるフォルダーか 'vmatlas pack' で作られるファイルを指定してください)";
    /// Somebody records.
    REC_BEING_WRITTEN: "{path} is still being recorded, and is not replaced", "{path} は記録中なので置き換えません";
    /// The same where it is to be packed.
    PACK_BEING_WRITTEN: "{path} is still being recorded: pack it when that has ended", "{path} は記録中です。記録が終わってからまとめてください";
    /// One file already.
    REC_PACKED: "{path} is one file already; 'unzip' makes a folder of it again", "{path} はすでに 1 つのファイルです ('unzip' でフォルダーに戻せます)";
    /// In the way of a packed file.
    PACK_EXISTS: "{path} exists already; give another name (-o), or --force to replace a packed recording",
        "{path} はすでにあります。別の名前を指定するか (-o)、まとめた記録を置き換えるなら --force を付けてください";
    /// Something else in its way.
    PACK_NOT_OURS: "{path} is no packed recording, so --force does not replace it", "{path} はまとめた記録ではないので、--force でも置き換えません";
    /// ^C.
    PACK_STOPPED: "stopped: {path} was not written", "中止しました: {path} は書き込まれていません";
    /// It is done.
    PACKED: "packed {path} into {to}: {files} files, {size}", "{path} を {to} にまとめました: {files} ファイル, {size}";
    /// The recording has no end.
    PACKED_NOT_ENDED: "its recording was not ended: vmatlas was killed; what it had written is packed",
        "記録の終了処理がされていません (vmatlas が強制終了されました)。書き込み済みの部分をまとめました";
    /// A place that is lost.
    PACKED_LOST: "lost: {what}", "欠落: {what}";
    /// Nobody records any more.
    REC_ENDED: "{path} is no longer being recorded: only while it is can a moment be marked", "{path} の記録は終わっています。マークを付けられるのは記録中だけです";
    /// Nobody took the mark.
    REC_NO_WRITER: "nobody records into {path} any more (its vmatlas was killed or stopped), or its disk is full: nothing was marked",
        "{path} に記録している vmatlas がありません (強制終了か停止された)。あるいはディスクに空きがありません。マークは付いていません";
    /// It is done.
    MARKED: "marked '{name}': '{place}' is this moment", "'{name}' とマークしました: '{place}' がこの時点です";
    /// A later version.
    REC_VERSION: "{path} is of recording format {version}, and this vmatlas reads format {known}; use the vmatlas that made it, or a later one",
        "{path} の記録形式は {version} ですが、この vmatlas が読めるのは {known} です。記録したものと同じか、より新しい vmatlas を使ってください";
    /// A recording without events.
    REC_NO_EVENTS: "there is no event in {path} (yet), so there is no map to show", "{path} には (まだ) イベントがないので、表示できるメモリマップはありません";
    /// A recording that is damaged from its start.
    REC_ALL_DAMAGED: "no event of {path} can be read; damaged: {what}", "{path} のイベントを 1 つも読めません。破損: {what}";
    /// A moment that is not there.
    REC_NO_MOMENT: "there is no moment '{moment}' in {path}; give a time (1.25s), the number of an event (1042), exec, peak, exit or end; it has no marks",
        "{path} に '{moment}' という時点はありません。時刻 (1.25s)、イベント番号 (1042)、exec、peak、exit、end のどれかを指定してください (マークはありません)";
    /// The same where there are marks.
    REC_NO_MARK: "there is no moment '{moment}' in {path}; give a time (1.25s), the number of an event (1042), exec, peak, exit, end, or one of its marks: {marks}",
        "{path} に '{moment}' という時点はありません。時刻 (1.25s)、イベント番号 (1042)、exec、peak、exit、end のどれかか、次のマークを指定してください: {marks}";
    /// A process that is not there.
    REC_NO_PROCESS: "process {pid} is not in {path}; its processes are: {pids}", "{path} にプロセス {pid} はありません。記録されたプロセス: {pids}";
    /// A process that was not there then.
    REC_NO_MEMORY: "process {pid} has no memory that is known after event {seq}; it has from @{first} to @{last}",
        "イベント {seq} の直後の時点で、プロセス {pid} のメモリは分かりません (@{first} から @{last} までなら分かります)";
    /// Moments that cannot be compared by what mapped their pages.
    DIFF_NOT_RELATED: "--by origin needs two moments of one recording, of one address space or of a parent and its child",
        "--by origin には、同じ記録の 2 つの時点 (同じアドレス空間、または親と子) が必要です";
    /// A recording without call stacks.
    REC_NO_STACKS: "there are no call stacks in {path}; record with --stacks ('vmatlas run --stacks -o REC')",
        "{path} にコールスタックはありません。--stacks を付けて記録してください ('vmatlas run --stacks -o REC')";
    /// Calls that have none.
    EXPORT_WITHOUT: "{n} calls have no call stack and were left out", "{n} 回の呼び出しにはコールスタックがないので、含まれていません";
    /// In the way of an export.
    EXPORT_EXISTS: "{path} exists already; give another name, or --force to replace it", "{path} はすでにあります。別の名前を指定するか、置き換えるなら --force を付けてください";
    /// Resident sizes of a recording.
    REC_NO_PAGES: "this recording holds maps and calls, but no resident sizes of this process ('run --pages', 'attach --pages' and 'watch' record them), so there is nothing to sum up ('vmatlas show' shows its map)",
        "この記録にはこのプロセスのメモリマップと呼び出しだけがあり、常駐サイズは含まれないので集計できません (常駐サイズは 'run --pages'、'attach --pages'、'watch' で記録できます。メモリマップは 'vmatlas show' で表示できます)";
    /// A recording that cannot be true.
    REC_CONTRADICTS: "the recording contradicts itself: {why}", "記録に矛盾があります: {why}";
    /// Recording has ended early.
    REC_STOPPED: "recording stopped: {why}; the program goes on, and what was written stays valid",
        "記録を中止しました: {why}。プログラムは続行し、書き込み済みの部分は読めます";
    /// Looks that were left out.
    WATCH_LATE: "{n} looks were left out: the ones before took too long, or the process did not answer (a longer interval, -i, helps)",
        "{n} 回の観測を省略しました: 前の観測に時間がかかったか、プロセスが応答しませんでした (間隔 -i を長くしてください)";
    /// A moment between two looks.
    REC_BETWEEN_LOOKS: "{hint}; there is nothing to sum up at {path} between them", "{hint}。{path} のその間の時点では集計できません";
    /// The disk was too slow.
    REC_LOST: "{n} events were not recorded: the disk was slower than the program; the recording says where, and goes on exactly after each gap",
        "{n} 個のイベントは記録されていません: ディスクがプログラムより遅すぎました。欠けた箇所は記録に示され、その後は正確に続きます";
    /// Started through sudo.
    RUNS_AS: "started through {via}: the program runs as {user}, who owns the files too (--as-root: root)",
        "{via} からの起動なので、プログラムは {user} として動き、ファイルも {user} のものになります (--as-root で root)";
    /// A variable that says nothing useful.
    BAD_INVOKER: "{variable} is '{text}', which is no user's number, so whom to run as is not known: --as-root runs the program as root",
        "{variable} の値 '{text}' はユーザー番号ではないので、どのユーザーとして実行するか決められません。--as-root を付けると root として実行します";
    /// Only root may become others.
    USER_NEEDS_ROOT: "--user is for root alone", "--user を使えるのは root だけです";
    /// No such user.
    NO_USER: "there is no user '{name}'", "'{name}' というユーザーはいません";
    /// The system does not say who that is.
    USER_UNKNOWN: "user {name} cannot be looked up: {why}", "ユーザー {name} を調べられません: {why}";
    /// Privileges stay where they should go.
    CANNOT_LOWER: "privileges cannot be given up: {why}; nothing was started",
        "権限を手放せません: {why}。何も起動していません";
    /// The program cannot become a user.
    CANNOT_BECOME: "the program cannot be run as another user: {why} (--as-root runs it as root)",
        "プログラムを別のユーザーとして実行できません: {why} (--as-root なら root として実行します)";
    /// A view that needs faults.
    COPIES_NEED_FAULTS: "who broke copy-on-write only a recording with page faults tells: vmatlas run --faults --stacks -o REC CMD", "コピーオンライトの共有を誰が解消したかは、ページフォールトの記録がないと分かりません: vmatlas run --faults --stacks -o REC CMD";
    /// An option that needs stops.
    BPF_NO_STOPS: "{option} needs a program that is stopped, and BPF stops nothing: leave out --backend bpf",
        "{option} にはプログラムを停止させることが必要ですが、BPF は何も停止させません。--backend bpf を外してください";
    /// A cgroup can only be watched through BPF.
    CGROUP_NEEDS_BPF: "--cgroup needs --backend bpf: only programs in the kernel see who comes into a cgroup",
        "--cgroup には --backend bpf が必要です。cgroup に入ってくるプロセスは、カーネル内のプログラムにしか見えません";
    /// A cgroup, and an option that needs stops.
    CGROUP_NO_STOPS: "{option} needs a program that is stopped, and --cgroup stops nothing: leave out one of them",
        "{option} にはプログラムを停止させることが必要ですが、--cgroup は何も停止させません。どちらかを外してください";
    /// No cgroup version 2 at all.
    NO_CGROUP2: "--cgroup: cgroup version 2 is not mounted (mount -t cgroup2 none /sys/fs/cgroup)",
        "--cgroup: cgroup バージョン 2 がマウントされていません (mount -t cgroup2 none /sys/fs/cgroup)";
    /// Not a cgroup of version 2.
    NOT_CGROUP2: "{path} is no cgroup of version 2 (they are below {mount})",
        "{path} はバージョン 2 の cgroup ではありません ({mount} の下にあります)";
    /// The program cannot be started there.
    CANNOT_MOVE: "the program cannot be started in the cgroup {path}: {why}", "cgroup {path} の中でプログラムを起動できません: {why}";
    /// No privileges for BPF.
    BPF_NOT_PERMITTED: "BPF is not permitted: run it as root (sudo vmatlas ...), or once: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace=ep $(command -v vmatlas); --backend ptrace needs nothing",
        "BPF の使用が許可されていません。root で実行するか (sudo vmatlas ...)、一度だけ sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace=ep $(command -v vmatlas) を実行してください。--backend ptrace なら権限は要りません";
    /// Root of a container.
    BPF_CONTAINER: "BPF is not permitted to this root: a container needs --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE and the host's PIDs (--pid host); --backend ptrace needs nothing",
        "この root には BPF の使用が許可されていません。コンテナーには --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE とホストの PID (--pid host) が必要です。--backend ptrace なら権限は要りません";
    /// The kernel is locked down.
    BPF_LOCKED_DOWN: "BPF programs may not read this kernel: it is locked down (confidentiality in /sys/kernel/security/lockdown), which only booting it otherwise changes; --backend ptrace works",
        "このカーネルはロックダウンされていて (/sys/kernel/security/lockdown が confidentiality)、BPF プログラムは読み取れません。変えるには再起動が必要です。--backend ptrace は使えます";
    /// No BTF.
    BPF_NO_BTF: "this kernel has no BTF (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF), which the BPF programs need; --backend ptrace works",
        "このカーネルには BPF プログラムに必要な BTF がありません (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)。--backend ptrace は使えます";
    /// Another reason.
    BPF_OTHER: "BPF cannot be used here: {why}; --backend ptrace works", "ここでは BPF を使えません: {why}。--backend ptrace は使えます";
    /// A file of ours cannot be written.
    CANNOT_WRITE: "cannot write {path}: {why}", "{path} に書き込めません: {why}";
}

#[cfg(test)]
mod tests {
    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(vmatlas_view::gaps(super::ALL), Vec::<String>::new());
    }
}
