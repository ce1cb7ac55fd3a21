"""An MCAP bag of a few topics, written without ROS's own recorder."""

import importlib.util
import pathlib
import shutil

from ..body_frame import quaternion


def _definitions():
    """Typestore of ROS 2 Jazzy with this package's messages."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    from .. import msg as package

    store = get_typestore(Stores.ROS2_JAZZY)
    folder = _message_folder(package)
    types = {}
    for path in sorted(folder.glob('*.msg')):
        types.update(get_types_from_msg(path.read_text(), f'lifting_ros/msg/{path.stem}'))
    store.register(types)
    return store


def _message_folder(package):
    """Return the folder of the .msg files: share/lifting_ros/msg of the installed package."""
    from ament_index_python.packages import get_package_share_directory

    try:
        return pathlib.Path(get_package_share_directory('lifting_ros')) / 'msg'
    except LookupError:
        return pathlib.Path(package.__file__).resolve().parents[2] / 'msg'


class Bag:
    """Writes messages as they come.

    Args:
        folder: of the bag; an old one is replaced.
    """

    def __init__(self, folder):
        from rosbags.rosbag2 import StoragePlugin, Writer

        folder = pathlib.Path(folder)
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._store = _definitions()
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections = {}
        self.count = 0

    def write(self, topic, kind, data, stamp):
        """Write a message.

        Args:
            topic: name.
            kind: class of the message.
            data: the message serialised (CDR), bytes.
            stamp: when it was received, ns.
        """
        if topic not in self._connections:
            package, group, name = *kind.__module__.split('.')[:2], kind.__name__
            self._connections[topic] = self._writer.add_connection(
                topic, f'{package}/{group}/{name}', typestore=self._store)
        self._writer.write(self._connections[topic], stamp, data)
        self.count += 1

    def write_static(self, parent, child, rotation, stamp):
        """Write a transform that never changes to /tf_static; tf2_msgs need not be installed.

        Args:
            parent, child: names of the frames, at the same place.
            rotation: (3, 3), columns are the child's axes in the parent.
            stamp: ns.
        """
        t = self._store.types
        kind = 'tf2_msgs/msg/TFMessage'
        x, y, z, w = quaternion(rotation).tolist()
        when = t['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
        message = t[kind](transforms=[t['geometry_msgs/msg/TransformStamped'](
            header=t['std_msgs/msg/Header'](stamp=when, frame_id=parent), child_frame_id=child,
            transform=t['geometry_msgs/msg/Transform'](
                translation=t['geometry_msgs/msg/Vector3'](x=0.0, y=0.0, z=0.0),
                rotation=t['geometry_msgs/msg/Quaternion'](x=x, y=y, z=z, w=w)))])
        if '/tf_static' not in self._connections:
            self._connections['/tf_static'] = self._writer.add_connection(
                '/tf_static', kind, typestore=self._store)
        self._writer.write(self._connections['/tf_static'], stamp,
                           self._store.serialize_cdr(message, kind))

    def close(self):
        """Finish the file."""
        self._writer.close()


def available():
    """Whether the package that writes bags is installed."""
    return importlib.util.find_spec('rosbags') is not None
