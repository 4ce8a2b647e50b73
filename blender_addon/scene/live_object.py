# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that still form: created once, filled again and again, committed at the end.

Knows which datablock belongs to which job, and when it must not be touched. Keeps no reference to Blender data between
calls (undo and file load kill them): an object is found by its `session_uid`, and after a file load by its job id,
which it carries as a custom property. Never changes selection, active object or mode.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy

from . import material as materials
from . import mesh_writer
from .glb_reader import GlbAsset
from .image_writer import pack_picture
from .mesh_writer import MeshArrays
from .placement import from_gltf, stand

log = logging.getLogger(__name__)

JOB_KEY = "dreamlift_job"
COLLECTION_NAME = "Dreamlift"
_COLLECTION_KEY = "dreamlift_collection"
SHARP_ANGLE = math.radians(50.0)
LONGEST_NAME = 63  # of a custom property; Blender refuses longer ones
_GONE = -1  # in place of an object's uid


class Outcome(enum.Enum):
    """What became of a write, or why it was held back. The value is what the panel says; empty says nothing."""

    WRITTEN = ""
    EDITED = "Held while you edit it"
    RENDERING = "Held while it renders"
    SHAPE_KEYS = "Held: it has shape keys"
    MISSING = "Object was deleted"


@dataclass(frozen=True)
class Placement:
    """Where a new object goes: world position in metres, longest side in metres, and the scene by `session_uid`."""

    location: tuple[float, float, float]
    size: float
    scene_uid: int = 0


@dataclass
class _Live:
    name: str
    placement: Placement
    uid: int = 0  # of the object; 0 until it exists, _GONE where the saved file had lost it
    object_name: str = ""  # a first guess where to look
    arrays: MeshArrays | None = None  # what was written last
    trusted: bool = False  # whether the datablock still holds `arrays`' topology


class LiveObjects:
    """Every object of this file that a running job still fills, by job id."""

    def __init__(self):
        self._live: dict[str, _Live] = {}
        self._undo_steps: list[str] = []

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._live

    def expect(self, job_id: str, name: str, placement: Placement) -> None:
        """Remember where a job's object goes; it is made with its first geometry."""
        self._live.setdefault(job_id, _Live(name, placement))

    def forget(self, job_id: str) -> None:
        """The job no longer writes; its object stays as it is."""
        self._live.pop(job_id, None)

    def clear(self) -> None:
        """Another file is open: nothing of the old one may be touched."""
        self._live.clear()
        self._undo_steps.clear()

    def object_name(self, job_id: str) -> str:
        """Name of the job's object, to find it again in the saved file; empty where there is none."""
        found = self._resolve(job_id)
        return found.name if found else ""

    def attach(self, job_id: str, object_name: str) -> bool:
        """After a file load: find the job's object by the id it carries. False where it is gone."""
        carriers = [each for each in bpy.data.objects if each.get(JOB_KEY) == job_id and each.type == "MESH"]
        if not carriers or job_id not in self._live:
            return False
        # A duplicate made by the artist carries the id too; the saved name says which one was ours.
        found = next((each for each in carriers if each.name == object_name), carriers[0])
        live = self._live[job_id]
        live.uid, live.object_name, live.trusted = found.session_uid, found.name, False
        return True

    def show(self, job_id: str, arrays: MeshArrays) -> Outcome:
        """Write a preview; creates the object with the first one.

        Args:
            job_id: A job that `expect` knows.
            arrays: Geometry as it came from the wire; it is turned, scaled and put on its base here.
        """
        live = self._live[job_id]
        placed = _placed(arrays, live.placement.size)
        found = self._resolve(job_id)
        if found is None and live.uid == 0:
            found = self._create(job_id, live)
        if found is None:
            live.arrays, live.trusted = placed, False
            return Outcome.MISSING
        held = _reason_to_hold(found)
        if held:
            live.arrays, live.trusted = placed, False  # what the artist edits may change the topology
            return held
        mesh = found.data
        if live.trusted and placed.same_topology(live.arrays) and mesh_writer.holds(mesh, placed):
            mesh_writer.move(mesh, placed)
        else:
            mesh_writer.replace(mesh, placed)
        live.arrays, live.trusted = placed, True
        return Outcome.WRITTEN

    def rewrite(self) -> list[str]:
        """After undo or redo: write the last preview again, because Blender went back to an older geometry.

        Returns:
            The jobs whose object is not there any more (or not yet again).
        """
        missing = []
        for job_id, live in self._live.items():
            found = self._resolve(job_id)
            live.trusted = False
            if found is None:
                if live.uid:
                    missing.append(job_id)
            elif live.arrays is not None and not _reason_to_hold(found):
                mesh_writer.replace(found.data, live.arrays)
                live.trusted = True
        return missing

    def mark_deleted(self, job_id: str) -> None:
        """The saved file had an object for this job and it is gone: do not make another one unasked."""
        self._live[job_id].uid = _GONE

    def revive(self, job_id: str) -> None:
        """The artist wants a deleted object back: with the last geometry it had, or with the next that comes."""
        live = self._live[job_id]
        if self._resolve(job_id) is not None:
            return
        live.uid = 0
        if live.arrays is not None:
            mesh_writer.replace(self._create(job_id, live).data, live.arrays)
            live.trusted = True

    def why_held(self, job_id: str) -> Outcome:
        """What `commit` would run into now; WRITTEN where nothing stands in the way."""
        found = self._resolve(job_id)
        if found is None:
            return Outcome.MISSING if self._live[job_id].uid else Outcome.WRITTEN
        return _reason_to_hold(found) or Outcome.WRITTEN

    def commit(self, job_id: str, asset: GlbAsset, provenance: Mapping[str, Any]) -> None:
        """Turn the live object into the finished one: geometry, material, where it came from, one undo step.

        Args:
            job_id: A job for which `why_held` says WRITTEN; afterwards it is forgotten here.
            asset: The finished mesh and its picture.
            provenance: Texts and numbers by name; they become custom properties `dreamlift_...`.
        """
        live = self._live[job_id]
        found = self._resolve(job_id) or self._create(job_id, live, step=False)
        vertices = stand(from_gltf(asset.positions), live.placement.size)
        mesh_writer.replace(found.data, MeshArrays(vertices, asset.faces, uvs=asset.uvs))
        if mesh_writer.finish(found.data, SHARP_ANGLE):
            log.warning("job %s: Blender mended the finished mesh", job_id)
        _give_material(found.data, live.name, asset)
        for key, value in provenance.items():
            found[f"dreamlift_{key}"[:LONGEST_NAME]] = value
        self._undo_steps.append(f"Finish: {live.name}")
        self.forget(job_id)

    def drop(self, job_id: str) -> None:
        """A cancelled job: take its half-made object away, with an undo step that brings it back."""
        if job_id not in self._live:
            return
        found = self._resolve(job_id)
        if found is not None and not _reason_to_hold(found):
            mesh = found.data
            bpy.data.objects.remove(found)
            if not mesh.users:
                bpy.data.meshes.remove(mesh)
            self._undo_steps.append(f"Cancel: {self._live[job_id].name}")
        self.forget(job_id)

    def push_undo_steps(self) -> None:
        """Push what is pending, outside of modes with undo steps of their own: those would not hold the object."""
        if not self._undo_steps or bpy.context.mode != "OBJECT":
            return
        windows = bpy.context.window_manager.windows
        for message in self._undo_steps:
            if windows:
                with bpy.context.temp_override(window=windows[0]):
                    bpy.ops.ed.undo_push(message=message)
            else:
                bpy.ops.ed.undo_push(message=message)
        self._undo_steps.clear()

    def _create(self, job_id: str, live: _Live, step: bool = True) -> bpy.types.Object:
        mesh = bpy.data.meshes.new(live.name)
        created = bpy.data.objects.new(live.name, mesh)
        created[JOB_KEY] = job_id
        created.location = live.placement.location
        materials.assign(mesh, materials.live_material())
        _collection(_scene(live.placement.scene_uid)).objects.link(created)
        live.uid, live.object_name, live.trusted = created.session_uid, created.name, False
        if step:
            self._undo_steps.append(f"Generate: {live.name}")
        return created

    def _resolve(self, job_id: str) -> bpy.types.Object | None:
        live = self._live.get(job_id)
        if live is None or not live.uid:
            return None
        guess = bpy.data.objects.get(live.object_name)
        if guess is None or guess.session_uid != live.uid:
            guess = next((each for each in bpy.data.objects if each.session_uid == live.uid), None)
        if guess is None or guess.type != "MESH" or not guess.users_scene:
            return None
        live.object_name = guess.name
        return guess


def find_finished(job_id: str) -> bpy.types.Object | None:
    """The object of a job, live or finished, by the id it carries."""
    return next((each for each in bpy.data.objects if each.get(JOB_KEY) == job_id and each.users_scene), None)


def select_only(context: bpy.types.Context, found: bpy.types.Object) -> bool:
    """Select an object and make it active, because the artist asked for it. False where this view layer lacks it."""
    if found.name not in context.view_layer.objects:
        return False
    for each in context.selected_objects:
        each.select_set(False)
    found.select_set(True)
    context.view_layer.objects.active = found
    return True


def _placed(arrays: MeshArrays, size: float) -> MeshArrays:
    return MeshArrays(
        stand(arrays.vertices, size), arrays.faces, arrays.edges, arrays.face_edges, arrays.colors, arrays.uvs
    )


def _reason_to_hold(found: bpy.types.Object) -> Outcome | None:
    if found.mode != "OBJECT":
        return Outcome.EDITED
    if found.data.shape_keys is not None:
        return Outcome.SHAPE_KEYS
    if bpy.app.is_job_running("RENDER") or bpy.app.is_job_running("OBJECT_BAKE"):
        return Outcome.RENDERING
    return None


def _give_material(mesh: bpy.types.Mesh, name: str, asset: GlbAsset) -> None:
    """The finished material, unless the artist already put another in place of the live one."""
    live = materials.live_material()
    if len(mesh.materials) and mesh.materials[0] not in (live, None):
        return
    image = pack_picture(f"{name} color", asset.picture) if asset.picture else None
    finished = materials.finished_material(name, image, asset.base_color, asset.roughness, asset.metallic)
    materials.assign(mesh, finished)


def _scene(uid: int) -> bpy.types.Scene:
    wanted = next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)
    return wanted or bpy.context.scene or bpy.data.scenes[0]


def _collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    for each in scene.collection.children_recursive:
        if each.get(_COLLECTION_KEY) and each.library is None:
            return each
    created = bpy.data.collections.new(COLLECTION_NAME)
    created[_COLLECTION_KEY] = True
    scene.collection.children.link(created)
    return created
