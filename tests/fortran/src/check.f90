! check.f90: a test program ends with a message and status 1 at the first thing that is wrong.
module check
  use, intrinsic :: iso_fortran_env, only: error_unit, int64
  implicit none
  private
  public :: that, equal

  interface equal
    module procedure equal_int, equal_int64, equal_text
  end interface

contains

  subroutine that(what, condition)
    character(len=*), intent(in) :: what
    logical, intent(in) :: condition
    if (condition) return
    write (error_unit, '(2a)') 'not so: ', what
    error stop 1
  end subroutine

  subroutine equal_int(what, got, want)
    character(len=*), intent(in) :: what
    integer, intent(in) :: got, want
    call equal_int64(what, int(got, int64), int(want, int64))
  end subroutine

  subroutine equal_int64(what, got, want)
    character(len=*), intent(in) :: what
    integer(int64), intent(in) :: got, want
    if (got == want) return
    write (error_unit, '(a, ": ", i0, ", want ", i0)') what, got, want
    error stop 1
  end subroutine

  subroutine equal_text(what, got, want)
    character(len=*), intent(in) :: what, got, want
    if (got == want .and. len(got) == len(want)) return
    write (error_unit, '(a, ": """, a, """, want """, a, """")') what, got, want
    error stop 1
  end subroutine
end module check
