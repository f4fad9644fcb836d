// Stands in for NVRTC: what it hands on as PTX is the source, which the driver's stand-in compiles.
#include <cstring>
#include <string>

extern "C" {

int nvrtcVersion(int *major, int *minor) {
    *major = 12;
    *minor = 9;
    return 0;
}
const char *nvrtcGetErrorString(int) { return "refused by the emulated compiler"; }

int nvrtcCreateProgram(std::string **program, const char *source, const char *, int, const char *const *,
                       const char *const *) {
    *program = new std::string(source);
    return 0;
}
int nvrtcDestroyProgram(std::string **program) {
    delete *program;
    *program = nullptr;
    return 0;
}
int nvrtcCompileProgram(std::string *, int, const char *const *) { return 0; }

int nvrtcGetPTXSize(std::string *program, size_t *size) {
    *size = program->size() + 1;
    return 0;
}
int nvrtcGetPTX(std::string *program, char *text) {
    memcpy(text, program->c_str(), program->size() + 1);
    return 0;
}
int nvrtcGetProgramLogSize(std::string *, size_t *size) {
    *size = 1;
    return 0;
}
int nvrtcGetProgramLog(std::string *, char *text) {
    *text = 0;
    return 0;
}
}
