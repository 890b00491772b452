package rpc

import "fmt"

// msgNames are the names of the message types in logs and statistics, by number.
var msgNames = [MsgMax]string{
	MsgHello: "hello", MsgBye: "bye", MsgEcho: "echo", MsgDescribe: "describe",
	MsgReadChunk: "read_chunk", MsgWriteChunk: "write_chunk", MsgReserveChunk: "reserve_chunk",
	MsgTruncateChunks: "truncate_chunks", MsgPurgeChunks: "purge_chunks", MsgSyncChunks: "sync_chunks", MsgStatStore: "stat_store",
	MsgLookup: "lookup", MsgCreateFile: "create_file", MsgCreateDir: "create_dir", MsgCreateSymlink: "create_symlink",
	MsgDelete: "delete", MsgRemoveDir: "remove_dir", MsgRename: "rename", MsgLink: "link", MsgReadlink: "readlink",
	MsgGetAttr: "get_attr", MsgSetAttr: "set_attr", MsgExtend: "extend", MsgAppend: "append", MsgTruncate: "truncate",
	MsgGetRuns: "get_runs", MsgAddRun: "add_run", MsgOpen: "open", MsgRelease: "release", MsgReadDir: "read_dir", MsgDirInfo: "dir_info",
	MsgPrepare: "prepare", MsgCommit: "commit", MsgAbort: "abort", MsgTxStatus: "tx_status",
	MsgBeginWrite: "begin_write", MsgEndWrite: "end_write", MsgLock: "lock", MsgEndAppend: "end_append",
}

func (t MsgType) String() string {
	if t < MsgMax && msgNames[t] != "" {
		return msgNames[t]
	}
	return fmt.Sprintf("type %d", uint16(t))
}
