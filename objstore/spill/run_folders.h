// SPDX-License-Identifier: Apache-2.0
// Whose the folders of spill files are, when a node ends. Each node has a folder of its own (in each folder
// that the user named), and its keeper removes it. If the head sees the same file system, the files of a node
// that dies are still wanted: then its keeper leaves them, and the head's removes them with the run.
//
// Which keeper is to do what is in two small files in their run directories, written by their raylets, so
// that it is known after any death: a node's list of folders to leave, the head's list of all others'
// folders. A mark in the head's folder says that the run goes on. The head's keeper removes it before
// anything else: whoever still sees it may rely on that all is removed later; who does not removes its own.
#pragma once

#include <string>
#include <vector>

namespace rmpi::objstore::spill {

// The head's raylet, before any other node has joined.
void MarkRun(const std::vector<std::string>& folders);
// The head's raylet: another node has these. `session`: its own run directory.
void NoteFoldersOfOthers(const std::string& session, const std::vector<std::string>& folders);

// Another node's: those of its folders that lie beside one of the head's, whose mark is there.
std::vector<std::string> SharedFolders(const std::vector<std::string>& own,
                                       const std::vector<std::string>& heads);
// From now on its keeper is to leave these; no longer.
void LeaveFolders(const std::string& session, const std::vector<std::string>& shared,
                  const std::vector<std::string>& heads);
void TakeBackFolders(const std::string& session);

// Any node's keeper, at its end and before its run directory goes, or the cleaner after it.
void EndFolders(const std::string& session, const std::vector<std::string>& own, bool keep);

}  // namespace rmpi::objstore::spill
