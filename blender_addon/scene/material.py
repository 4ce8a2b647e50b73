# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials of live and finished objects.

Knows Principled nodes. The live material shows the vertex colours of the preview and is shared by all live objects; a
finished object gets one of its own, with the packed picture as base colour.
"""

from __future__ import annotations

import bpy

from .mesh_writer import COLOR_NAME

LIVE_NAME = "Dreamlift Preview"
_OWNER_KEY = "dreamlift_preview"


def live_material() -> bpy.types.Material:
    """The shared material of objects that still form."""
    for material in bpy.data.materials:
        if material.get(_OWNER_KEY) and material.library is None:
            return material
    material = bpy.data.materials.new(LIVE_NAME)
    material[_OWNER_KEY] = True
    shader = _principled(material)
    colors = material.node_tree.nodes.new("ShaderNodeVertexColor")
    colors.layer_name = COLOR_NAME
    colors.location = (-220, 300)
    material.node_tree.links.new(colors.outputs["Color"], shader.inputs["Base Color"])
    shader.inputs["Roughness"].default_value = 0.7
    return material


def finished_material(
    name: str,
    image: bpy.types.Image | None,
    base_color: tuple[float, float, float, float],
    roughness: float,
    metallic: float,
) -> bpy.types.Material:
    """A new Principled material.

    Args:
        name: Name of the datablock.
        image: Base colour picture, or None.
        base_color: Linear RGBA where there is no picture.
        roughness: 0 to 1.
        metallic: 0 to 1.
    """
    material = bpy.data.materials.new(name)
    shader = _principled(material)
    shader.inputs["Base Color"].default_value = base_color
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    material.diffuse_color = base_color
    if image is not None:
        texture = material.node_tree.nodes.new("ShaderNodeTexImage")
        texture.image = image
        texture.location = (-320, 300)
        material.node_tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
        material.node_tree.nodes.active = texture  # what Solid view shows with Texture colours
    return material


def assign(mesh: bpy.types.Mesh, material: bpy.types.Material) -> None:
    """Make `material` the mesh's only one."""
    if len(mesh.materials) == 1 and mesh.materials[0] == material:
        return
    mesh.materials.clear()
    mesh.materials.append(material)


def _principled(material: bpy.types.Material) -> bpy.types.ShaderNode:
    if material.node_tree is None:  # always there from 5.0 on, where `use_nodes` is deprecated
        material.use_nodes = True
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
